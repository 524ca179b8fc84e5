-- Run once, when the volume is empty. Made by bcm.
CREATE ROLE nbxplorer LOGIN PASSWORD '{{ secrets["db-nbxplorer"] }}';
CREATE DATABASE nbxplorer OWNER nbxplorer TEMPLATE template0 LC_CTYPE 'C' LC_COLLATE 'C' ENCODING 'UTF8';
CREATE ROLE btcpay LOGIN PASSWORD '{{ secrets["db-btcpay"] }}';
CREATE DATABASE btcpay OWNER btcpay TEMPLATE template0 LC_CTYPE 'C' LC_COLLATE 'C' ENCODING 'UTF8';
REVOKE CONNECT ON DATABASE btcpay FROM PUBLIC;
REVOKE CONNECT ON DATABASE nbxplorer FROM PUBLIC;
