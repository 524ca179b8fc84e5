//! The sessions that the simulated device remembers: each is one opened wallet.

use rand::RngCore;

use super::keys::Seed;

/// How many sessions a device remembers.
const CAPACITY: usize = 10;

const ID_BYTES: usize = 32;

/// One session.
pub(super) struct Session {
    id: [u8; ID_BYTES],
    used: u64,
    cardano: bool,
    pub(super) seed: Option<Seed>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: Vec<Session>,
    active: Option<[u8; ID_BYTES]>,
    clock: u64,
}

impl Sessions {
    /// Goes on with session `id` if it is remembered and starts a new one if not; returns its id.
    ///
    /// A wallet opened without Cardano keys is not gone on with by a host that wants them, nor the
    /// other way round.
    pub(super) fn start(&mut self, id: Option<&[u8]>, cardano: Option<bool>) -> Vec<u8> {
        self.clock += 1;
        let clock = self.clock;
        let known = |session: &&mut Session| Some(&session.id[..]) == id;
        if let Some(session) = self.sessions.iter_mut().find(known) {
            let opened = session.seed.is_some();
            if !opened || cardano.is_none_or(|wanted| wanted == session.cardano) {
                session.used = clock;
                session.cardano = if opened {
                    session.cardano
                } else {
                    cardano == Some(true)
                };
                self.active = Some(session.id);
                return session.id.to_vec();
            }
            let id = session.id;
            self.sessions.retain(|session| session.id != id);
        }
        self.start_new(cardano == Some(true))
    }

    fn start_new(&mut self, cardano: bool) -> Vec<u8> {
        if self.sessions.len() >= CAPACITY {
            let oldest = self.sessions.iter().map(|session| session.used).min();
            self.sessions.retain(|session| Some(session.used) != oldest);
        }
        let mut id = [0; ID_BYTES];
        rand::thread_rng().fill_bytes(&mut id);
        let used = self.clock;
        self.sessions.push(Session {
            id,
            used,
            cardano,
            seed: None,
        });
        self.active = Some(id);
        id.to_vec()
    }

    /// Forgets the session in use.
    pub(super) fn end(&mut self) {
        if let Some(id) = self.active.take() {
            self.sessions.retain(|session| session.id != id);
        }
    }

    /// Returns the session in use.
    pub(super) fn active(&mut self) -> Option<&mut Session> {
        let id = self.active?;
        self.sessions.iter_mut().find(|session| session.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_unused_for_longest_makes_room() {
        let mut sessions = Sessions::default();
        let ids: Vec<_> = (0..CAPACITY).map(|_| sessions.start(None, None)).collect();
        assert_eq!(sessions.start(Some(&ids[0]), None), ids[0]);
        sessions.start(None, None);
        assert_ne!(sessions.start(Some(&ids[1]), None), ids[1]);
        assert_eq!(sessions.start(Some(&ids[0]), None), ids[0]);
    }

    #[test]
    fn an_ended_session_is_not_gone_on_with() {
        let mut sessions = Sessions::default();
        let id = sessions.start(None, None);
        sessions.end();
        assert!(sessions.active().is_none());
        assert_ne!(sessions.start(Some(&id), None), id);
        assert_eq!(sessions.start(Some(&[]), None).len(), ID_BYTES);
    }
}
