//! Parameters of queries: what the server reads of them. Those of the release that it does not read are not told of.

/// A parameter of the query.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    /// `string`, `integer`, `boolean`.
    pub kind: &'static str,
    pub about: &'static str,
}

const fn param(name: &'static str, kind: &'static str, about: &'static str) -> Param {
    Param { name, kind, about }
}

const DRY_RUN: Param = param("dryRun", "string", "All: the request is checked in full and nothing is stored.");
const MANAGER: Param = param("fieldManager", "string", "Who makes the change.");
const VALIDATION: Param = param(
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: Ignore drops them, Warn drops and names them, Strict refuses.",
);
const CONTINUE: Param = param("continue", "string", "Where the page before ended.");
const FIELDS: Param = param("fieldSelector", "string", "Which objects, by fields.");
const LABELS: Param = param("labelSelector", "string", "Which objects, by labels.");
const LIMIT: Param = param("limit", "integer", "How many objects a page has at most.");
const REVISION: Param = param("resourceVersion", "string", "How new the answer must be.");
const MATCH: Param = param("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan.");
const INITIAL: Param = param("sendInitialEvents", "boolean", "The watch begins with the state.");
const TIMEOUT: Param = param("timeoutSeconds", "integer", "How long the watch lasts.");
const GRACE: Param = param("gracePeriodSeconds", "integer", "How long the object has to end.");
const ORPHAN: Param = param("orphanDependents", "boolean", "Older form of propagationPolicy.");
const PROPAGATION: Param =
    param("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground.");

pub const NONE: &[Param] = &[];
pub const WRITE: &[Param] = &[DRY_RUN, MANAGER, VALIDATION];
pub const PATCH: &[Param] =
    &[DRY_RUN, MANAGER, VALIDATION, param("force", "boolean", "Apply takes fields from other managers.")];
pub const LIST: &[Param] = &[
    param("allowWatchBookmarks", "boolean", "The watch may send bookmarks."),
    CONTINUE,
    FIELDS,
    LABELS,
    LIMIT,
    REVISION,
    MATCH,
    INITIAL,
    TIMEOUT,
    param("watch", "boolean", "Changes instead of a list."),
];
pub const DELETE: &[Param] = &[DRY_RUN, GRACE, ORPHAN, PROPAGATION];
pub const DELETE_COLLECTION: &[Param] =
    &[CONTINUE, DRY_RUN, FIELDS, GRACE, LABELS, LIMIT, ORPHAN, PROPAGATION, REVISION, MATCH, INITIAL, TIMEOUT];
pub const LOG: &[Param] = &[
    param("container", "string", "Which container; may be left out where there is one."),
    param("follow", "boolean", "The log goes on as it is written."),
    param("limitBytes", "integer", "How much of it at most."),
    param("previous", "boolean", "Of the container's run before this one."),
    param("sinceSeconds", "integer", "How far back."),
    param("stream", "string", "All, Stdout or Stderr."),
    param("tailLines", "integer", "How many lines from the end."),
    param("timestamps", "boolean", "Each line begins with its time."),
];
const CONTAINER: Param = param("container", "string", "Which container; may be left out where there is one.");
const STDERR: Param = param("stderr", "boolean", "Standard error is wanted.");
const STDIN: Param = param("stdin", "boolean", "Standard input is given.");
const STDOUT: Param = param("stdout", "boolean", "Standard output is wanted.");
const TTY: Param = param("tty", "boolean", "The streams are a terminal's.");
pub const ATTACH: &[Param] = &[CONTAINER, STDERR, STDIN, STDOUT, TTY];
pub const EXEC: &[Param] =
    &[param("command", "string", "What to run; once for each argument."), CONTAINER, STDERR, STDIN, STDOUT, TTY];
pub const FORWARD: &[Param] = &[param("ports", "integer", "Which ports.")];
pub const PROXY: &[Param] =
    &[param("path", "string", "Stands in the URL, behind /proxy: what is behind gets it, and the query as it is.")];
