//! A program in the container of a service: asked for its answer, or given a person's streams.

use std::collections::HashMap;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::engine::{Engine, EngineError};

/// Docker's label of a task's container.
const SERVICE: &str = "com.docker.swarm.service.name";

/// Most that is kept of each stream of an answer.
const MOST: usize = 4 << 20;

/// What a program in a container said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: i64,
    /// What it wrote on stdout, up to 4 MiB.
    pub stdout: Vec<u8>,
    /// What it wrote on stderr, up to 4 MiB.
    pub stderr: Vec<u8>,
}

/// Finds a container on this engine that runs the service; the id is Docker's.
///
/// # Errors
///
/// Any [`EngineError`].
pub async fn container_of(engine: &Engine, service: &str) -> Result<Option<String>, EngineError> {
    let filters = HashMap::from([
        ("label".to_owned(), vec![format!("{SERVICE}={service}")]),
        ("status".to_owned(), vec!["running".to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::default()
        .filters(&filters)
        .build();
    let found = engine.docker().list_containers(Some(options));
    let found = engine.done("list the containers", found).await?;
    Ok(found.into_iter().find_map(|container| container.id))
}

/// Runs a program in a container, without input, and returns what it said.
///
/// # Errors
///
/// Any [`EngineError`]; [`EngineError::Silent`] when it takes longer than `limit`.
pub async fn ask(
    engine: &Engine,
    container: &str,
    words: &[String],
    limit: Duration,
) -> Result<Said, EngineError> {
    let mut said = Said::default();
    let work = async {
        let (out, err) = (&mut said.stdout, &mut said.stderr);
        let mut hear = async |message: &LogOutput| {
            let (into, bytes) = match message {
                LogOutput::StdErr { message } => (&mut *err, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    (&mut *out, message)
                }
                LogOutput::StdIn { .. } => return Ok(()),
            };
            let room = MOST.saturating_sub(into.len()).min(bytes.len());
            into.extend_from_slice(&bytes[..room]);
            Ok(())
        };
        run(
            engine,
            container,
            words,
            None::<tokio::io::Empty>,
            &mut hear,
        )
        .await
    };
    let code = tokio::time::timeout(limit, work).await;
    said.code = code.map_err(|_| EngineError::Silent {
        host: engine.host().to_owned(),
        seconds: limit.as_secs(),
    })??;
    Ok(said)
}

/// Runs a program in a container with these streams, and returns its exit code.
///
/// # Errors
///
/// Any [`EngineError`].
pub async fn attach<I, O, E>(
    engine: &Engine,
    container: &str,
    words: &[String],
    stdin: I,
    stdout: &mut O,
    stderr: &mut E,
) -> Result<i64, EngineError>
where
    I: AsyncRead + Unpin + Send,
    O: AsyncWrite + Unpin + Send,
    E: AsyncWrite + Unpin + Send,
{
    let mut hear = async |message: &LogOutput| match message {
        LogOutput::StdErr { message } => {
            stderr.write_all(message).await?;
            stderr.flush().await
        }
        LogOutput::StdOut { message } | LogOutput::Console { message } => {
            stdout.write_all(message).await?;
            stdout.flush().await
        }
        LogOutput::StdIn { .. } => Ok(()),
    };
    run(engine, container, words, Some(stdin), &mut hear).await
}

async fn run<I: AsyncRead + Unpin + Send>(
    engine: &Engine,
    container: &str,
    words: &[String],
    stdin: Option<I>,
    hear: &mut impl AsyncFnMut(&LogOutput) -> std::io::Result<()>,
) -> Result<i64, EngineError> {
    const WHAT: &str = "run a program in a container";
    let broken = |source: std::io::Error| EngineError::Broken {
        host: engine.host().to_owned(),
        source: source.into(),
    };
    let config = ExecConfig {
        attach_stdin: Some(stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(words.to_vec()),
        ..ExecConfig::default()
    };
    let docker = engine.docker();
    let made = engine
        .done(WHAT, docker.create_exec(container, config))
        .await?;
    let options = Some(StartExecOptions::default());
    let started = engine
        .done(WHAT, docker.start_exec(&made.id, options))
        .await?;
    if let StartExecResults::Attached {
        mut output,
        mut input,
    } = started
    {
        let feed = async {
            if let Some(mut stdin) = stdin {
                let mut buffer = vec![0; 16 << 10];
                while let Ok(read) = stdin.read(&mut buffer).await {
                    if read == 0 || input.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                    let _ = input.flush().await;
                }
                // a program that reads to the end waits for this
                let _ = input.shutdown().await;
            }
            // the connection stays open for its output
            std::future::pending::<()>().await;
        };
        let drain = async {
            while let Some(message) = output.next().await {
                let message = engine.done(WHAT, std::future::ready(message)).await?;
                hear(&message).await.map_err(broken)?;
            }
            Ok::<_, EngineError>(())
        };
        tokio::select! {
            biased;
            drained = drain => drained?,
            () = feed => {}
        }
    }
    let ended = engine.done(WHAT, docker.inspect_exec(&made.id)).await?;
    Ok(ended.exit_code.unwrap_or(-1))
}

/// Reads what a container said, from some lines before the end, and goes on while it speaks if asked to.
pub fn logs<'a>(
    engine: &'a Engine,
    container: &str,
    follow: bool,
    tail: u32,
) -> impl Stream<Item = Result<Vec<u8>, EngineError>> + Unpin + use<'a> {
    let options = LogsOptionsBuilder::default()
        .follow(follow)
        .stdout(true)
        .stderr(true)
        .tail(&tail.to_string())
        .build();
    let lines = engine.docker().logs(container, Some(options));
    let lines = lines.then(async |line| {
        let line = engine.done("read a log", std::future::ready(line)).await?;
        Ok(line.into_bytes().to_vec())
    });
    Box::pin(lines)
}
