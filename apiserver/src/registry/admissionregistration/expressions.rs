//! Expressions of webhooks and policies, compiled: what each has to come to, and the variables that a policy's are composed of. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_cel::{Environment, Program, Type};

use super::environment::{Known, Typed, environment, with_variable, with_variables};

/// What the value of an expression has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Bool,
    Text,
    TextOrNull,
    /// `Object{…}`
    Configuration,
    /// `[JSONPatch{…}]`
    Patch,
    Anything,
}

impl Wanted {
    fn is(self, of: &Type) -> bool {
        match self {
            Self::Bool => *of == Type::Bool,
            Self::Text => *of == Type::String,
            Self::TextOrNull => matches!(of, Type::String | Type::Null),
            Self::Configuration => is_object(of, "Object"),
            Self::Patch => matches!(of, Type::List(items) if is_object(items, "JSONPatch")),
            Self::Anything => true,
        }
    }
    fn shown(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Text => "string",
            Self::TextOrNull => "one of [string null_type]",
            Self::Configuration => "Object",
            Self::Patch => "list(JSONPatch)",
            Self::Anything => "any",
        }
    }
}

fn is_object(of: &Type, name: &str) -> bool {
    matches!(of, Type::Object(object) if *object.name == *name)
}

/// What can be evaluated; or what is wrong with it, in upstream's words for its author.
pub fn compile(text: &str, environment: &Environment, wanted: Wanted) -> Result<Program, String> {
    let program = corten_cel::compile(text, environment)
        .map_err(|problems| format!("compilation failed: {}", corten_cel::list_problems(&problems)))?;
    match program.output() {
        of if wanted.is(of) => Ok(program),
        other => Err(format!("must evaluate to {} but got {other}", wanted.shown())),
    }
}

/// Compiles the expressions of one policy: each knows the variables that were added before it.
#[derive(Debug)]
pub struct Composer {
    params: bool,
    typed: Typed,
    variables: BTreeMap<Arc<str>, Type>,
    /// With the authorizer, which all know but those of messages.
    whole: Environment,
}

impl Composer {
    pub fn new(params: bool) -> Self {
        Self::typed(params, Typed::default())
    }
    pub fn typed(params: bool, typed: Typed) -> Self {
        let variables = BTreeMap::new();
        let known = Known { params, authorizer: true, patches: false };
        let whole = with_variables(environment(known, &typed), &variables);
        Self { params, typed, variables, whole }
    }
    /// A variable, which those after it know, whatever is wrong with it.
    pub fn add(&mut self, name: &str, text: &str) -> Result<Program, String> {
        let made = compile(text, &self.whole, Wanted::Anything);
        let of = made.as_ref().map_or(Type::Dyn, |program| seen(program.output()));
        let whole = with_variable(std::mem::take(&mut self.whole), name, &of);
        self.variables.insert(name.into(), of);
        self.whole = with_variables(whole, &self.variables);
        made
    }
    pub fn compile(&self, text: &str, wanted: Wanted) -> Result<Program, String> {
        compile(text, &self.whole, wanted)
    }
    /// What expressions of messages know.
    pub fn of_messages(&self) -> Environment {
        self.environment(Known { params: self.params, ..Known::default() })
    }
    /// What expressions of patches know.
    pub fn of_patches(&self) -> Environment {
        self.environment(Known { params: self.params, authorizer: true, patches: true })
    }
    fn environment(&self, known: Known) -> Environment {
        let made = environment(known, &self.typed);
        let made = self.variables.iter().fold(made, |made, (name, of)| with_variable(made, name, of));
        with_variables(made, &self.variables)
    }
}

/// As what a variable is known to others: parts of objects, and what has a type of its own, are not told apart by its name.
fn seen(of: &Type) -> Type {
    match of {
        Type::List(items) => Type::list(seen(items)),
        Type::Map(keys, values) => Type::map(seen(keys), seen(values)),
        Type::Null
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::Timestamp
        | Type::Duration => of.clone(),
        Type::Dyn | Type::Object(_) | Type::Opaque(..) | Type::Type(_) | Type::Param(_) | Type::Error => Type::Dyn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_comes_to_what_is_wanted() {
        let composer = Composer::new(true);
        let (messages, patches) = (composer.of_messages(), composer.of_patches());
        let good: &[(&str, &Environment, Wanted)] = &[
            ("object.a == params.a && authorizer.path('/x').check('get').allowed()", &composer.whole, Wanted::Bool),
            ("'a' + object.spec.replicas", &messages, Wanted::Text),
            ("null", &composer.whole, Wanted::TextOrNull),
            ("Object{spec: Object.spec{replicas: object.spec.replicas + 1}}", &patches, Wanted::Configuration),
            ("[JSONPatch{op: 'remove', path: '/a'}]", &patches, Wanted::Patch),
            ("object.x ? [JSONPatch{op: 'remove', path: '/a'}] : []", &patches, Wanted::Patch),
        ];
        for (text, environment, wanted) in good {
            let made = compile(text, environment, *wanted);
            assert!(made.is_ok(), "{text}: {made:?}");
        }
        let why = |text: &str, environment: &Environment, wanted| compile(text, environment, wanted).unwrap_err();
        assert_eq!(why("object.a", &composer.whole, Wanted::Bool), "must evaluate to bool but got dyn");
        assert_eq!(
            why("1", &composer.whole, Wanted::TextOrNull),
            "must evaluate to one of [string null_type] but got int"
        );
        assert_eq!(why("Object{}", &patches, Wanted::Patch), "must evaluate to list(JSONPatch) but got Object");
        for (text, environment) in [
            ("authorizer.path('/x').check('get').reason()", &messages),
            ("Object{}", &composer.whole),
            ("params.a", &Composer::new(false).whole),
        ] {
            assert!(why(text, environment, Wanted::Anything).contains("undeclared reference"), "{text}");
        }
    }

    #[test]
    fn variables_are_known_by_their_types_to_those_after_them() {
        let mut composer = Composer::new(false);
        composer.add("replicas", "int(object.spec.replicas)").unwrap();
        composer.add("odd", "variables.replicas % 2 == 1").unwrap();
        assert!(composer.add("broken", "nobody").is_err());
        composer.compile("variables.odd && has(variables.replicas) && variables.broken.a", Wanted::Bool).unwrap();
        let why = composer.compile("variables.replicas > 'a'", Wanted::Bool).unwrap_err();
        assert!(why.contains("found no matching overload for '_>_' applied to '(int, string)'"), "{why}");
        let why = composer.compile("variables.later", Wanted::Bool).unwrap_err();
        assert!(why.contains("undefined field 'later'"), "{why}");
    }
}
