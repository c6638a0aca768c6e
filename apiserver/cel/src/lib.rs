//! CEL as Kubernetes has it: expressions over JSON that are parsed, type checked, bounded in cost, and evaluated.
//!
//! The language is <https://github.com/google/cel-spec>; functions, costs and messages are those of Kubernetes 1.37. Nothing
//! here does I/O or looks at a clock: who evaluates gives variables, a budget, and an authorizer if expressions may ask one.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use corten_cel::{Budget, Environment, RUNTIME_BUDGET, Schema, Value, compile};
//!
//! let openapi = serde_json::json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
//! let schema = Arc::new(Schema::of_openapi(&openapi, false).expect("expressions can see an object"));
//! let environment = Environment::default().with_schema("self", "selfType", schema.clone());
//! let rule = compile("self.replicas <= 10", &environment).expect("the rule is good");
//! let object = serde_json::json!({"replicas": 11});
//! let mut budget = Budget::new(RUNTIME_BUDGET);
//! let variables = BTreeMap::from([("self", Value::of(&object, &schema).expect("it is as its schema says"))]);
//! assert_eq!(rule.evaluate(&variables, &mut budget).and_then(|value| value.as_bool()), Ok(false));
//! ```

mod ast;
mod checker;
mod cost;
mod environment;
mod error;
mod escape;
mod eval;
mod lexer;
mod library;
mod limits;
mod literal;
mod macros;
mod opaque;
mod parser;
mod pattern;
mod problem;
mod program;
pub mod re2;
mod schema;
pub mod strfmt;
mod time;
mod types;
mod url;
mod value;

pub use cost::{Estimate, PER_CRD_LIMIT, PER_EXPRESSION_LIMIT};
pub use environment::Environment;
pub use error::EvalError;
pub use escape::escape;
pub use eval::Activation;
pub use limits::{Budget, MATCH_CONDITIONS_BUDGET, PER_CALL_LIMIT, RUNTIME_BUDGET};
pub use opaque::authorizer::{Authorizer, Decision, PathCheck, ResourceCheck, ServiceAccount};
pub use problem::{Position, Problem, list as list_problems};
pub use program::{Program, compile};
pub use schema::{ListKind, REQUEST_BYTES_MAX, Schema};
pub use types::{ObjectType, Type};
pub use value::{Entries, Fields, Key, List, Map, Struct, Text, Value};
