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
    return dumped !== size ? `${bytes(size)} from ${bytes(dumped)}` : bytes(size);
  }
  if (job.progress) {
    const { percent, dumped_bytes: dumped, estimated_bytes: estimated } = job.progress;
    const left = job.progress.seconds_left;
    const rest = left ? `, about ${duration(left * 1000)} left` : "";
    return `${percent} %, ${bytes(dumped)} of about ${bytes(estimated)}${rest}`;
  }
  return { pending: "Not started yet", running: "No progress yet" }[job.status] ?? "";
}

const CHOICES = {
  include_schemas: "only schemas",
  exclude_schemas: "not schemas",
  include_tables: "only tables",
  exclude_tables: "not tables",
  exclude_table_data: "not the rows of",
};

/** What of the database was asked for: "Definitions only; not tables a, b", or "" for all. */
export function contentWords(job) {
  const content = { schema: "definitions only", data: "rows only" }[job.content];
  const lists = Object.entries(CHOICES)
    .filter(([field]) => job[field]?.length > 0)
    .map(([field, words]) => `${words} ${job[field].join(", ")}`);
  const owner = job.owner === false ? "no owners" : "";
  const privileges = job.privileges === false ? "no grants" : "";
  return capital([content, ...lists, owner, privileges].filter(Boolean).join("; "));
}

/** That a complete export has warnings, in its row. */
export function warnedWords(warnings) {
  const count = warnings.length;
  return count === 0 ? "" : `${count} ${count === 1 ? "warning" : "warnings"}: see the details.`;
}

/** Shell commands that check the job's file and restore it, one a line; "" without a file. */
export function commandsOf(artifact) {
  return artifact ? `${artifact.check_command}\n${artifact.restore_command}` : "";
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

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
