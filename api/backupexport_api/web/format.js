// Facts about jobs in words.

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];
// Halves go to the even digit, as they do in mails and in kubectl's columns.
const ONE_DECIMAL = new Intl.NumberFormat("en", {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
  roundingMode: "halfEven",
  useGrouping: false,
});

/** 172177818 → "164.2 MiB", in the words of mails and of kubectl's columns. */
export function bytes(count) {
  if (count < 1024) {
    return `${count} B`;
  }
  let value = count / 1024;
  let unit = 0;
  // What is more would be rounded to 1024.0.
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${ONE_DECIMAL.format(value)} ${UNITS[unit]}`;
}

/** 75 s → "1 min 15 s". */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? twoParts(minutes, "min", seconds % 60, "s")
    : twoParts(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

function twoParts(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** The reader's own day and time. */
export function localTime(date) {
  return date.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

/** The time alone, for what happened a moment ago. */
export function clockTime(date) {
  return date.toLocaleTimeString([], { timeStyle: "medium" });
}

/** "AuthenticationFailed" → "Authentication failed". */
export function reasonWords(reason) {
  const words = reason.replace(/([a-z0-9])([A-Z])/g, "$1 $2").split(" ");
  return [words[0], ...words.slice(1).map((word) => word.toLowerCase())].join(" ");
}

/** What is made: "SQL, zstd". */
export function kindWords(job) {
  return `${job.format === "sql" ? "SQL" : job.format}, ${job.compression ?? "not compressed"}`;
}

/** How long the job took or has been at it, or "" before its start. */
export function runningTime(job, now) {
  if (!job.started_at) {
    return "";
  }
  const end = job.completed_at ? new Date(job.completed_at) : now;
  const time = duration(end - new Date(job.started_at));
  return job.completed_at ? `took ${time}` : `for ${time} so far`;
}

/** How long ago, in the largest unit that fits. */
export function age(milliseconds) {
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 1) {
    return "just now";
  }
  const [unit, size] = [["d", 1440], ["h", 60], ["min", 1]].find(([, each]) => minutes >= each);
  return `${Math.floor(minutes / size)} ${unit} ago`;
}

/** How far the job has come, or what it has made; "" where it ended before its dump began. */
export function progressWords(job) {
  if (job.artifact) {
    const { size_bytes: size, uncompressed_bytes: dumped } = job.artifact;
    return job.compress ? `${bytes(size)} from ${bytes(dumped)}` : bytes(size);
  }
  if (job.progress) {
    const { percent, dumped_bytes: dumped, estimated_bytes: estimated } = job.progress;
    return `${percent} %, ${bytes(dumped)} of about ${bytes(estimated)}`;
  }
  return { pending: "Not started yet", running: "No progress yet" }[job.status] ?? "";
}

/** How far the bar goes, 0 to 100, or null where there is nothing to be drawn. */
export function progressValue(job) {
  const begun = job.progress || job.status === "running";
  return begun && !job.artifact ? (job.progress?.percent ?? 0) : null;
}

/** Everything that was to be sent when the job had ended, the mail first. */
export function deliveriesOf(job) {
  const mail = job.notification ? [{ ...job.notification, kind: "e-mail" }] : [];
  return [...mail, ...(job.deliveries ?? [])];
}

/** What has become of a delivery: "E-mail: sent, …". */
export function deliveryWords({ kind, status, reason, message, at }) {
  const name = capital(kind);
  if (status === "sent") {
    return `${name}: sent${at ? `, ${localTime(new Date(at))}` : ""}`;
  }
  const why = status === "failed" && reason ? `${reasonWords(reason)}.` : "";
  const state = status === "pending" ? "on its way." : "not sent.";
  return [`${name}: ${state}`, why, message].filter(Boolean).join(" ");
}

/** Shell commands that check the job's file and restore it, one a line. */
export function restoreCommands(job) {
  const name = job.artifact.path.split("/").pop();
  const file = quoted(name);
  const decompress = job.compression ? `${job.compression} -dc ${file}` : "";
  return [`echo ${quoted(`${job.artifact.sha256}  ${name}`)} | sha256sum --check`, restore()].join("\n");

  function restore() {
    if (job.format === "tar") {
      const plain = decompress ? quoted(name.replace(/\.\w+$/, "")) : file;
      const whole = decompress ? `${decompress} > ${plain}` : `tar -tf ${file} > /dev/null`;
      return `${whole} && pg_restore --single-transaction -d DATABASE ${plain}`;
    }
    const psql = "psql -X --single-transaction -v ON_ERROR_STOP=1 -d DATABASE";
    return decompress
      ? `(set -o pipefail; ${job.compression} -tq ${file} && ${decompress} | ${psql})`
      : `tail -n 9 ${file} | grep 'database dump complete' && ${psql} -f ${file}`;
  }
}

/** `text` as one word of a shell. */
export function quoted(text) {
  return /^[A-Za-z0-9._/][A-Za-z0-9._/-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
