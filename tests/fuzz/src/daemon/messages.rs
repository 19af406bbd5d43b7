//! Messages made from bytes by their descriptors.

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

const DEEPEST: usize = 6;

/// What fields of text may hold so that a call gets past its first check.
const TEXTS: [&str; 26] = [
    "identity/sign-in-form",
    "compliance/audit-log",
    "fuzz/thing",
    "1.0.0",
    "2.0.0-rc.1",
    "1.2.0",
    "sha256:1111111111111111111111111111111111111111111111111111111111111111",
    "kind:ui",
    "tag:payments and not license:GPL-3.0-only",
    "version:\">=1, <2\"",
    "pay with a saved card",
    "sign in",
    "identity/sign-in-form@1.0.0",
    "fuzz/thing@1.0.0",
    "dev",
    "everyone",
    "0190a1b2-0000-7000-8000-000000000000",
    "request-1",
    "request-2",
    "#/properties/a",
    "gdpr",
    "gdpr/art-17",
    "1-000000000000",
    "day",
    "cl100k_base",
    "\u{202e}äöü\n\t",
];

/// What fields of bytes may hold, and texts that stand for a document.
const DOCUMENTS: [&str; 7] = [
    "name: fuzz/thing\nversion: 1.0.0\ntitle: T\nsummary: Does things.\nkind: service\nlifecycle: certified\nlicense: MIT\nowner: o\n",
    "name: fuzz/thing\nversion: 1.2.0\ntitle: T\nsummary: Does things.\nkind: ui\nlifecycle: draft\nlicense: MIT\nowner: o\nconfig_schema: {type: object, additionalProperties: false, required: [a], properties: {a: {type: string, default: x}}}\n",
    "name: fuzz/app\nparts:\n- {id: a, component: fuzz/thing@1.0.0}\n- {id: b, component: identity/sign-in-form@1.0.0}\n- {id: c, raw: {path: src, owner: A, reviewer: B}}\n",
    "split,example_type,intent,expected,alternates,rationale\ndev,direct,sign in,identity/sign-in-form,,\ndev,direct,fly to the moon,,,\n",
    "@id(\"a\") @reason(\"b\") @fix(\"c\") forbid(principal, action, resource);",
    "{\"version\":1,\"keys\":[],\"roles\":[],\"policies\":[]}",
    "{\"a\": \"x\"}",
];

/// A message of any content. `remembered`: texts of earlier answers.
pub fn message(
    u: &mut Unstructured<'_>,
    descriptor: &MessageDescriptor,
    remembered: &VecDeque<String>,
    depth: usize,
) -> Result<DynamicMessage> {
    let mut made = DynamicMessage::new(descriptor.clone());
    if depth >= DEEPEST {
        return Ok(made);
    }
    for field in descriptor.fields() {
        // Most fields are set at the top, few far down: messages stay small.
        if u.ratio(3, 4 + depth * 3)? {
            let value = field_value(u, &field, remembered, depth)?;
            made.set_field(&field, value);
        }
    }
    Ok(made)
}

fn field_value(
    u: &mut Unstructured<'_>,
    field: &FieldDescriptor,
    remembered: &VecDeque<String>,
    depth: usize,
) -> Result<Value> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return Ok(Value::default_value_for_field(field)) };
        let value = single(u, &entry.map_entry_value_field(), remembered, depth)?;
        let key = match entry.map_entry_key_field().kind() {
            Kind::String => MapKey::String(text(u, remembered)?),
            Kind::Bool => MapKey::Bool(u.arbitrary()?),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(u.arbitrary()?),
            Kind::Uint64 | Kind::Fixed64 => MapKey::U64(u.arbitrary()?),
            Kind::Uint32 | Kind::Fixed32 => MapKey::U32(u.arbitrary()?),
            _ => MapKey::I32(u.arbitrary()?),
        };
        return Ok(Value::Map([(key, value)].into()));
    }
    if field.is_list() {
        let count = u.int_in_range(0..=3)?;
        return (0..count).map(|_| single(u, field, remembered, depth)).collect::<Result<Vec<_>>>().map(Value::List);
    }
    single(u, field, remembered, depth)
}

fn single(
    u: &mut Unstructured<'_>,
    field: &FieldDescriptor,
    remembered: &VecDeque<String>,
    depth: usize,
) -> Result<Value> {
    Ok(match field.kind() {
        Kind::Double => Value::F64(u.arbitrary()?),
        Kind::Float => Value::F32(u.arbitrary()?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(u.arbitrary()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(u.arbitrary()?),
        Kind::Uint32 | Kind::Fixed32 => {
            Value::U32(if u.ratio(3, 4)? { u.int_in_range(0..=12)? } else { u.arbitrary()? })
        }
        Kind::Uint64 | Kind::Fixed64 => {
            Value::U64(if u.ratio(3, 4)? { u.int_in_range(0..=20)? } else { u.arbitrary()? })
        }
        Kind::Bool => Value::Bool(u.arbitrary()?),
        Kind::String => Value::String(text(u, remembered)?),
        Kind::Bytes => {
            let bytes = if u.ratio(3, 4)? {
                u.choose(&DOCUMENTS)?.as_bytes().to_vec()
            } else {
                u.arbitrary::<&[u8]>()?.to_vec()
            };
            Value::Bytes(bytes.into())
        }
        Kind::Message(inner) => Value::Message(message(u, &inner, remembered, depth + 1)?),
        Kind::Enum(kinds) => {
            let numbers: Vec<i32> = kinds.values().map(|value| value.number()).collect();
            Value::EnumNumber(if u.ratio(15, 16)? { *u.choose(&numbers)? } else { u.arbitrary()? })
        }
    })
}

fn text(u: &mut Unstructured<'_>, remembered: &VecDeque<String>) -> Result<String> {
    Ok(match u.int_in_range(0..=7_u8)? {
        0 => u.arbitrary()?,
        1 => (*u.choose(&DOCUMENTS)?).to_owned(),
        2..=4 if !remembered.is_empty() => {
            let at = u.choose_index(remembered.len())?;
            remembered[at].clone()
        }
        _ => (*u.choose(&TEXTS)?).to_owned(),
    })
}
