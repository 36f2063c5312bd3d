//! The OpenAPI description: generated from routes and types, then extended with names for the variants
//! of each choice and with the limits that the server enforces.

use std::collections::BTreeMap;
use std::time::Duration;

use orx_model::filter::Filter;
use orx_model::schedule::{CronExpr, ScheduleSpec, When};
use orx_model::wire::{LogEvent, path};
use orx_model::{JobId, Problem, RetryPolicy, limits};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, AllOf, Components, Object, OneOf, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr};
use utoipa::{Number, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Orchestrix",
        description = "Enqueue, schedule, run and watch jobs. Every answer that is not 2xx is a problem \
                       document (RFC 9457) with a stable code.",
        license(name = "MIT OR Apache-2.0"),
    ),
    security(("token" = [])),
    components(schemas(Problem, LogEvent)),
)]
struct Document;

/// The description without routes.
pub(crate) fn start() -> OpenApi {
    Document::openapi()
}

/// Completes a description with all routes, as it is served and checked in.
pub(crate) fn finish(mut document: OpenApi) -> String {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    // utoipa does not name the alias.
    if let Some(labels) = components.schemas.remove("BTreeMap") {
        components.schemas.insert("Labels".to_owned(), labels);
    }
    name_variants(components);
    spread_choices(components);
    for (place, limit) in schema_limits() {
        let schema = schema_at(components, place);
        let applied = schema.is_some_and(|schema| limit.apply(schema));
        debug_assert!(applied, "the description has no schema for the limit of `{place}`");
    }
    for (route, item) in &mut document.paths.paths {
        let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch];
        for operation in methods.into_iter().flatten() {
            limit_operation(route, operation);
        }
    }
    let text = document.to_pretty_json().unwrap_or_default();
    let mut text = text.replace("#/components/schemas/BTreeMap\"", "#/components/schemas/Labels\"");
    text.push('\n');
    text
}

/// Gives each variant of a choice a schema with a name: `LogEvent` is a `LogEventChunk`, a
/// `LogEventPing` and so on. Generators invent names for schemas without one, and those clash.
fn name_variants(components: &mut Components) {
    let mut named = BTreeMap::new();
    for (name, schema) in &mut components.schemas {
        let RefOr::T(Schema::OneOf(choice)) = schema else { continue };
        for item in &mut choice.items {
            let RefOr::T(Schema::Object(variant)) = item else { continue };
            let Some(tag) = tag(variant) else { continue };
            let variant_name = format!("{name}{}", pascal_case(&tag));
            if let Some(content) = variant.properties.get_mut(&tag)
                && matches!(content, RefOr::T(Schema::Object(it)) if !it.properties.is_empty())
            {
                let content_name = format!("{variant_name}Content");
                let reference = RefOr::Ref(Ref::from_schema_name(&content_name));
                named.insert(content_name, std::mem::replace(content, reference));
            }
            let reference = RefOr::Ref(Ref::from_schema_name(&variant_name));
            named.insert(variant_name, std::mem::replace(item, reference));
        }
    }
    for (name, schema) in named {
        debug_assert!(!components.schemas.contains_key(&name), "`{name}` names two schemas");
        components.schemas.insert(name, schema);
    }
}

/// Turns an object that contains a choice into a choice of objects: a `Slot`, which is a `SlotOutcome`
/// and more, becomes a `SlotRan`, a `SlotSkipped` and so on. Generators cannot add fields to a choice.
fn spread_choices(components: &mut Components) {
    const PREFIX: &str = "#/components/schemas/";
    let mut named = BTreeMap::new();
    for (name, schema) in &components.schemas {
        let RefOr::T(Schema::AllOf(all)) = schema else { continue };
        for (place, item) in all.items.iter().enumerate() {
            let RefOr::Ref(Ref { ref_location, .. }) = item else { continue };
            let part = ref_location.trim_start_matches(PREFIX);
            let Some(RefOr::T(Schema::OneOf(choice))) = components.schemas.get(part) else {
                continue;
            };
            let mut spread = OneOf { description: all.description.clone(), ..OneOf::new() };
            for variant in &choice.items {
                let RefOr::Ref(Ref { ref_location, .. }) = variant else { continue };
                let of_part = ref_location.trim_start_matches(PREFIX);
                let variant_name = format!("{name}{}", of_part.trim_start_matches(part));
                spread.items.push(RefOr::Ref(Ref::from_schema_name(&variant_name)));
                let mut whole = AllOf { description: None, ..all.clone() };
                whole.items[place] = variant.clone();
                named.insert(variant_name, RefOr::T(Schema::AllOf(whole)));
            }
            named.insert(name.clone(), RefOr::T(Schema::OneOf(spread)));
        }
    }
    components.schemas.extend(named);
}

/// The tag of a variant: its only property, or the property with a single value.
fn tag(variant: &Object) -> Option<String> {
    let single = variant.properties.values().find_map(|property| match property {
        RefOr::T(Schema::Object(property)) => match property.enum_values.as_deref() {
            Some([value]) => value.as_str().map(str::to_owned),
            _ => None,
        },
        _ => None,
    });
    match variant.properties.keys().next() {
        Some(only) if variant.properties.len() == 1 && single.is_none() => Some(only.clone()),
        _ => single,
    }
}

fn pascal_case(snake_case: &str) -> String {
    let mut name = String::new();
    for word in snake_case.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// A limit as a schema can express it. A limit in bytes becomes one in characters: more characters are
/// always more bytes.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Characters(usize, usize),
    Value(usize, usize),
    /// Without an upper limit.
    AtLeast(usize),
    Items(usize, usize),
    Entries(usize),
    Labels,
}

impl Limit {
    /// Adds the limit. Returns whether the schema is of a kind that can have it.
    fn apply(self, schema: &mut Schema) -> bool {
        match (self, schema) {
            (Self::Characters(least, most), Schema::Object(text)) => {
                text.min_length = (least > 0).then_some(least);
                text.max_length = Some(most);
            }
            (Self::Value(least, most), Schema::Object(number)) => {
                number.minimum = Some(Number::UInt(least));
                number.maximum = Some(Number::UInt(most));
            }
            (Self::AtLeast(least), Schema::Object(number)) => {
                number.minimum = Some(Number::UInt(least));
            }
            (Self::Items(least, most), Schema::Array(list)) => {
                list.min_items = (least > 0).then_some(least);
                list.max_items = Some(most);
            }
            (Self::Entries(most), Schema::Object(map)) => map.max_properties = Some(most),
            (Self::Labels, Schema::Object(map)) => {
                map.max_properties = Some(limits::TAGS);
                let Some(AdditionalProperties::RefOr(RefOr::T(value))) =
                    map.additional_properties.as_deref_mut()
                else {
                    return false;
                };
                let Some(key) = map.property_names.as_deref_mut() else { return false };
                return Self::Characters(0, limits::TAG_BYTES).apply(value)
                    && Self::Characters(1, limits::TAG_BYTES).apply(key);
            }
            _ => return false,
        }
        true
    }
}

/// Finds the schema of a component, or of a property such as `EnqueueRequest.key`.
fn schema_at<'c>(components: &'c mut Components, place: &str) -> Option<&'c mut Schema> {
    let (name, property) = place.split_once('.').unwrap_or((place, ""));
    let schema = match (components.schemas.get_mut(name)?, property) {
        (schema, "") => schema,
        (RefOr::T(Schema::Object(object)), property) => object.properties.get_mut(property)?,
        _ => return None,
    };
    match schema {
        RefOr::T(schema) => Some(schema),
        RefOr::Ref(_) => None,
    }
}

const fn millis(duration: Duration) -> usize {
    duration.as_millis() as usize
}

/// The limits of requests, by component and property.
fn schema_limits() -> impl Iterator<Item = (&'static str, Limit)> {
    use Limit::{AtLeast, Characters, Entries, Items, Labels, Value};
    const DELAY: Limit = Value(0, millis(limits::DELAY_MAX));
    const DELAY_FROM_1: Limit = Value(1, millis(limits::DELAY_MAX));
    const DELAY_FROM_1_S: Limit = Value(1_000, millis(limits::DELAY_MAX));
    const INTERVAL: Limit = Value(When::EVERY_MIN_MS as usize, millis(limits::DELAY_MAX));
    const RETRIES: Limit = Value(0, RetryPolicy::RETRIES_MAX as usize);
    const KEY: Limit = Characters(1, limits::KEY_BYTES);
    const ARGV: Limit = Items(1, limits::COMMAND_WORDS);
    // In base64.
    const STDIN: Limit = Characters(0, limits::STDIN_BYTES.div_ceil(3) * 4);
    const ENVELOPES: Limit = Items(0, limits::PUBLISH_ENVELOPES);
    const JITTER: Limit = Value(0, ScheduleSpec::JITTER_MAX_MS as usize);
    [
        ("Command.argv", ARGV),
        ("Command.env", Entries(limits::COMMAND_WORDS)),
        ("Command.stdin", STDIN),
        ("CommandChange.argv", ARGV),
        ("CommandChange.env", Entries(limits::COMMAND_WORDS)),
        ("CommandChange.set_env", Entries(limits::COMMAND_WORDS)),
        ("CommandChange.stdin", STDIN),
        ("CronExpr", Characters(1, CronExpr::MAX_BYTES)),
        ("ChangeRequest.filter", Characters(0, Filter::MAX_BYTES)),
        ("EnqueueRequest.backoff_ms", DELAY),
        ("EnqueueRequest.by", KEY),
        ("EnqueueRequest.corr", KEY),
        ("EnqueueRequest.delay_ms", DELAY),
        ("EnqueueRequest.expires_ms", DELAY_FROM_1),
        ("EnqueueRequest.key", KEY),
        ("EnqueueRequest.retries", RETRIES),
        ("EnqueueRequest.timeout_ms", DELAY),
        ("JobChange.backoff_ms", DELAY),
        ("JobChange.corr", KEY),
        ("JobChange.expires_ms", DELAY_FROM_1),
        ("JobChange.retries", RETRIES),
        ("JobChange.timeout_ms", DELAY),
        ("JobId", Value(1, JobId::MAX as usize)),
        ("Labels", Labels),
        ("NodePublishRequest.envelopes", ENVELOPES),
        ("PublishRequest.envelopes", ENVELOPES),
        ("RetryPolicy.backoff_max_ms", DELAY),
        ("RetryPolicy.backoff_ms", DELAY),
        ("RetryPolicy.factor", Value(1, 100)),
        ("RetryPolicy.jitter", Value(0, 1)),
        ("RetryPolicy.retries", RETRIES),
        ("RevokeRequest.ids", Items(1, limits::REVOKE_TOKENS)),
        ("ScheduleSpec.jitter_ms", JITTER),
        ("ScheduleSpec.max_runs", AtLeast(1)),
        ("ScheduleSpec.tolerance_ms", DELAY_FROM_1_S),
        ("ScheduleSpec.window_ms", DELAY),
        ("SpecChange.every_ms", INTERVAL),
        ("SpecChange.jitter_ms", JITTER),
        ("SpecChange.max_runs", AtLeast(1)),
        ("SpecChange.tolerance_ms", DELAY_FROM_1_S),
        ("SpecChange.window_ms", DELAY),
        ("TokenRequest.expires_ms", DELAY_FROM_1_S),
        ("TokenRequest.note", Characters(0, limits::NOTE_CHARS)),
        ("WhenIntervalContent.every_ms", INTERVAL),
        ("WhenIntervalContent.offset_ms", Value(0, millis(limits::DELAY_MAX) - 1)),
    ]
    .into_iter()
}

/// Adds the limits of an operation's parameters and body.
fn limit_operation(route: &str, operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let limit = match parameter.name.as_str() {
            "limit" => Limit::Value(1, limits::PAGE_ROWS),
            "filter" => Limit::Characters(0, Filter::MAX_BYTES),
            "idempotency-key" => Limit::Characters(1, limits::KEY_BYTES),
            _ => continue,
        };
        if let Some(RefOr::T(schema)) = &mut parameter.schema {
            limit.apply(schema);
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        let most = match route {
            path::JOBS_BATCH => limits::BATCH_BODY_BYTES,
            _ if route.starts_with("/worker/") || route.starts_with("/node/") => {
                limits::PUBLISH_BODY_BYTES
            }
            _ => limits::BODY_BYTES,
        };
        let before = body.description.take().map(|text| format!("{text}; ")).unwrap_or_default();
        body.description = Some(format!("{before}at most {most} bytes"));
    }
}
