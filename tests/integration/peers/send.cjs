// Sends one message with nodemailer, as the JSON on standard input says. Exit status 1 and the error where it fails.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const nodemailer = require(path.join(process.argv[2], "nodemailer"));
const order = JSON.parse(fs.readFileSync(0, "utf8"));

const transporter = nodemailer.createTransport({
  host: order.host,
  port: order.port,
  name: order.helo,
  secure: order.way === "implicit",
  requireTLS: order.way === "starttls",
  ignoreTLS: order.way === "plain",
  tls: { ca: fs.readFileSync(order.authority) },
  connectionTimeout: order.timeout * 1000,
  ...(order.mechanism && { auth: { user: order.user, pass: order.password } }),
  ...(order.mechanism && !order.any && { authMethod: order.mechanism }),
  logger: { level() {}, trace: say, debug: say, info: say, warn: say, error: say, fatal: say },
  debug: true,
});

function say(entry, text, ...words) {
  process.stdout.write(`${entry.tnx || ""} ${require("node:util").format(text, ...words)}\n`);
}

const message = {
  envelope: {
    from: order.sender,
    to: [order.recipient],
    use8BitMime: true,
    ...(order.dsn && { dsn: { id: order.dsn.envelope_id, return: order.dsn.returned, notify: order.dsn.notify.split(",") } }),
  },
  raw: fs.readFileSync(order.message),
};

transporter.sendMail(message).then(
  (sent) => say({}, sent.response),
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  },
);
