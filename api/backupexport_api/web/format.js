// Facts about jobs in words.

const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"];
const STATUS_WORDS = {
  pending: "Pending",
  running: "Running",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};
const DELIVERY_NAMES = { email: "E-mail", telegram: "Telegram" };
const DECOMPRESSORS = { zstd: "zstd", gzip: "gzip" };

/** 1234567 → "1.23 MB". */
export function bytes(count) {
  let value = count;
  let unit = 0;
  // 999,999 would round to 1000 kB.
  while (value >= (unit === 0 ? 1000 : 999.5) && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit === 0 && count === 1 ? "byte" : UNITS[unit]}`;
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

/** The job's status for people. */
export function statusWords(status) {
  return STATUS_WORDS[status] ?? status;
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

/** The line beside the progress bar. */
export function progressWords(job) {
  if (job.artifact) {
    const { size_bytes: size, uncompressed_bytes: dumped } = job.artifact;
    return job.compress ? `${bytes(size)} from ${bytes(dumped)} of dump` : bytes(size);
  }
  if (job.status === "completed") {
    return "100 %";
  }
  if (!job.progress) {
    return job.status === "pending" ? "Not started yet" : "No progress yet";
  }
  const { percent, dumped_bytes: dumped, estimated_bytes: estimated } = job.progress;
  return `${percent} %, ${bytes(dumped)} of about ${bytes(estimated)}`;
}

/** How far the bar goes, 0 to 100. */
export function progressValue(job) {
  return job.status === "completed" ? 100 : (job.progress?.percent ?? 0);
}

/** Everything that was to be sent when the job had ended, the mail first. */
export function deliveriesOf(job) {
  const mail = job.notification ? [{ ...job.notification, kind: "email" }] : [];
  return [...mail, ...(job.deliveries ?? [])];
}

/** What has become of a delivery: "E-mail: sent at …". */
export function deliveryWords({ kind, status, reason, message, at }) {
  const name = DELIVERY_NAMES[kind] ?? kind;
  if (status === "sent") {
    return at ? `${name}: sent, ${localTime(new Date(at))}` : `${name}: sent`;
  }
  if (status === "pending") {
    return [`${name}: on its way.`, message].filter(Boolean).join(" ");
  }
  const why = reason ? `${reasonWords(reason)}.` : "";
  return [`${name}: not sent.`, why, message].filter(Boolean).join(" ");
}

/** The file's own name. */
export function fileName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Shell commands that check the job's file and restore it, one a line. */
export function restoreCommands(job) {
  const name = fileName(job.artifact.path);
  const file = quoted(name);
  const decompress = job.compression ? `${DECOMPRESSORS[job.compression]} -dc ${file}` : "";
  return [`echo ${quoted(`${job.artifact.sha256}  ${name}`)} | sha256sum --check`, restore()].join("\n");

  function restore() {
    if (job.format === "tar") {
      const plain = decompress ? quoted(name.replace(/\.\w+$/, "")) : file;
      const unpack = decompress ? `${decompress} > ${plain} && ` : "";
      return `${unpack}pg_restore --exit-on-error -d DATABASE ${plain}`;
    }
    const psql = "psql -X -v ON_ERROR_STOP=1 -d DATABASE";
    return decompress ? `${decompress} | ${psql}` : `${psql} -f ${file}`;
  }
}

/** `text` as one word of a shell. */
export function quoted(text) {
  return /^[A-Za-z0-9._/][A-Za-z0-9._/-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
