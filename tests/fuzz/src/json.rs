//! JSON made from bytes: values, schemas that get past the first look, configurations, and small changes of a document.

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

const DEEPEST: usize = 5;
const WORDS: [&str; 16] = [
    "a", "b", "name", "type", "x-note", "äö", "", "a/b", "$ref", "secret", "password", "0", "1.0", "null", "url",
    "\u{7f}",
];

fn word(u: &mut Unstructured<'_>) -> Result<String> {
    if u.ratio(4, 5)? { Ok((*u.choose(&WORDS)?).to_owned()) } else { u.arbitrary() }
}

fn number(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=3_u8)? {
        0 => json!(u.arbitrary::<i8>()?),
        1 => json!(u.arbitrary::<i64>()?),
        2 => json!(u.arbitrary::<u64>()?),
        // What is not finite becomes null.
        _ => json!(u.arbitrary::<f64>()?),
    })
}

/// Any value, at most a few levels deep.
pub fn value(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let kinds = if depth >= DEEPEST { 4 } else { 6 };
    Ok(match u.int_in_range(0..=kinds - 1)? {
        0 => Value::Null,
        1 => json!(u.arbitrary::<bool>()?),
        2 => number(u)?,
        3 => Value::String(word(u)?),
        4 => {
            let items = u.int_in_range(0..=4)?;
            (0..items).map(|_| value(u, depth + 1)).collect::<Result<Vec<_>>>()?.into()
        }
        _ => object(u, depth, value)?,
    })
}

fn object(
    u: &mut Unstructured<'_>,
    depth: usize,
    inner: fn(&mut Unstructured<'_>, usize) -> Result<Value>,
) -> Result<Value> {
    let entries = u.int_in_range(0..=4)?;
    (0..entries).map(|_| Ok((word(u)?, inner(u, depth + 1)?))).collect::<Result<Map<_, _>>>().map(Value::Object)
}

/// A schema of JSON Schema 2020-12 with the keywords that Fitment knows, and now and then something that it does not.
pub fn schema(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    if depth >= DEEPEST {
        return Ok(json!({ "type": "string" }));
    }
    let mut schema = Map::new();
    match u.int_in_range(0..=9_u8)? {
        0 | 1 => {
            schema.insert("type".into(), json!("object"));
            schema.insert("additionalProperties".into(), json!(false));
            schema.insert("properties".into(), object(u, depth, self::schema)?);
            if u.arbitrary()? {
                schema.insert("required".into(), json!([word(u)?]));
            }
        }
        2 => {
            schema.insert("type".into(), json!("array"));
            schema.insert("items".into(), self::schema(u, depth + 1)?);
        }
        3 => {
            let kind = *u.choose(&["anyOf", "oneOf", "allOf"])?;
            let count = u.int_in_range(1..=3)?;
            let all = (0..count).map(|_| self::schema(u, depth + 1)).collect::<Result<Vec<_>>>()?;
            schema.insert(kind.into(), all.into());
        }
        4 => {
            schema.insert(
                "$ref".into(),
                json!(*u.choose(&["#/$defs/a", "#/$defs/b", "#", "#/properties/a", "https://x/y"])?),
            );
        }
        5 => {
            let count = u.int_in_range(1..=3)?;
            let all = (0..count).map(|_| value(u, DEEPEST)).collect::<Result<Vec<_>>>()?;
            schema.insert("enum".into(), all.into());
        }
        _ => {
            let types = ["string", "integer", "number", "boolean", "null"];
            schema.insert("type".into(), json!(*u.choose(&types)?));
        }
    }
    let more = u.int_in_range(0..=2)?;
    for _ in 0..more {
        let (keyword, value) = keyword(u, depth)?;
        schema.insert(keyword.to_owned(), value);
    }
    if depth == 0 {
        schema.insert("$defs".into(), json!({ "a": self::schema(u, 1)?, "b": self::schema(u, 1)? }));
    }
    Ok(Value::Object(schema))
}

fn keyword(u: &mut Unstructured<'_>, depth: usize) -> Result<(&'static str, Value)> {
    let keywords = [
        "default",
        "const",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minItems",
        "maxItems",
        "uniqueItems",
        "description",
        "title",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "patternProperties",
        "propertyNames",
        "prefixItems",
        "contains",
        "unevaluatedProperties",
        "x-fitment-secret",
        "x-fitment-port",
        "deprecated",
        "examples",
        "minProperties",
    ];
    let keyword = *u.choose(&keywords)?;
    let value = match keyword {
        "pattern" => {
            json!(*u.choose(&["^a+$", "[a-z]{1,40}", "(a|b)*c", "(?=x)", "\\p{L}+", "((a{9}){9}){9}", "["])?)
        }
        "format" => json!(*u.choose(&["date-time", "uri", "email", "uuid", "regex", "none"])?),
        "not" | "if" | "then" | "else" | "contains" | "propertyNames" => schema(u, depth + 1)?,
        "patternProperties" => json!({ "^a": schema(u, depth + 1)? }),
        "prefixItems" => json!([schema(u, depth + 1)?]),
        "dependentRequired" => json!({ "a": ["b"] }),
        "examples" => json!([value(u, DEEPEST)?]),
        "minimum" | "maximum" | "exclusiveMinimum" | "multipleOf" => number(u)?,
        _ => value(u, DEEPEST - 1)?,
    };
    Ok((keyword, value))
}

/// Something that may satisfy a schema: its shape is followed where that is easy.
pub fn configuration(u: &mut Unstructured<'_>, schema: &Value, depth: usize) -> Result<Value> {
    if depth >= DEEPEST || u.ratio(1, 8)? {
        return value(u, depth.min(DEEPEST));
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let mut made = Map::new();
        for (name, schema) in properties {
            if u.ratio(3, 4)? {
                made.insert(name.clone(), configuration(u, schema, depth + 1)?);
            }
        }
        return Ok(Value::Object(made));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => Ok(Value::String(word(u)?)),
        Some("integer") => Ok(json!(u.arbitrary::<i32>()?)),
        Some("number") => number(u),
        Some("boolean") => Ok(json!(u.arbitrary::<bool>()?)),
        Some("array") => Ok(json!([configuration(u, schema.get("items").unwrap_or(&Value::Null), depth + 1)?])),
        _ => value(u, depth),
    }
}

/// Changes one place of a document: takes it out, puts another value there, or puts something beside it.
pub fn edit(u: &mut Unstructured<'_>, document: &mut Value) -> Result<()> {
    let mut place = document;
    loop {
        let length = match &*place {
            Value::Object(entries) => entries.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if length == 0 || u.ratio(1, 4)? {
            break;
        }
        let at = u.int_in_range(0..=length - 1)?;
        place = match place {
            Value::Object(entries) => entries.values_mut().nth(at).expect("within"),
            Value::Array(items) => &mut items[at],
            _ => unreachable!("what has a length is an object or an array"),
        };
    }
    let new = value(u, DEEPEST - 2)?;
    match place {
        Value::Object(entries) if u.arbitrary()? => {
            let key = entries.keys().next().cloned();
            match key {
                Some(key) if u.arbitrary()? => drop(entries.shift_remove(&key)),
                _ => drop(entries.insert(word(u)?, new)),
            }
        }
        Value::Array(items) if u.arbitrary()? => match items.last().cloned() {
            Some(last) if u.arbitrary()? => items.push(last),
            Some(_) if u.arbitrary()? => drop(items.pop()),
            _ => items.push(new),
        },
        place => *place = new,
    }
    Ok(())
}
