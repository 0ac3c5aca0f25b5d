//! What docker, compose and pg_restore print: read as it is meant, or an error that says what
//! could not be read.

use crate::property::hold;
use crate::stand::containers::{self, Container, Port};
use crate::stand::dump::{Entry, entry};
use crate::stand::model::{Bind, Model};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON, with the names that are looked for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        proptest::sample::select(vec!["bind", "--p", "$$", "65536", "8080", "udp", "A=b"])
            .prop_map(Value::from),
    ];
    let key = proptest::sample::select(vec![
        "services",
        "build",
        "depends_on",
        "image",
        "environment",
        "command",
        "volumes",
        "ports",
        "published",
        "host_ip",
        "type",
        "source",
        "target",
        "context",
        "read_only",
        "Id",
        "Image",
        "State",
        "Status",
        "ExitCode",
        "Health",
        "Config",
        "Labels",
        "Mounts",
        "Env",
        "Cmd",
        "RestartCount",
        "Type",
        "RW",
        "s",
        "",
    ]);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_string(), v)).collect::<Map<_, _>>())
                .prop_map(Value::Object),
        ]
    })
}

fn ask_everything(model: &Model) {
    for service in model.services().iter().map(String::as_str).chain(["", "none"]) {
        assert_eq!(model.has(service), model.services().iter().any(|s| s == service));
        let _ = (model.depends_on(service), model.environment(service), model.command(service));
        let _ = (model.binds(service), model.published(service), model.build_context(service));
        assert!(model.built().len() <= model.services().len());
    }
    let _ = model.texts();
}

#[test]
fn any_json_is_a_model_or_an_error() {
    hold(400, (any_json(), any_json()), |(services, any)| {
        for value in [any, json!({ "services": services.clone() }), json!({ "services": { "s": services } })]
        {
            let parsed = Model::parse(value.to_string().as_bytes());
            prop_assert_eq!(parsed.is_ok(), value["services"].is_object());
            match parsed {
                Ok(model) => ask_everything(&model),
                Err(why) => {
                    let named = format!("{why:#}").contains("services");
                    prop_assert!(named, "{:#}", why);
                }
            }
        }
        Ok(())
    });
}

type Service = (Option<String>, Vec<(String, String)>, Vec<String>, Vec<(String, bool)>, Option<u16>, bool);

fn service() -> impl Strategy<Value = Service> {
    let text = || "[a-z$й /:=_-]{0,8}";
    let pairs =
        prop::collection::btree_map("[A-Z_]{1,5}", text(), 0..4).prop_map(|m| m.into_iter().collect());
    (
        proptest::option::of("[a-z/:0-9]{1,10}"),
        pairs,
        prop::collection::vec(text(), 0..4),
        prop::collection::vec(("/[a-zй ]{1,6}", any::<bool>()), 0..3),
        proptest::option::of(1..u16::MAX),
        any::<bool>(),
    )
}

#[test]
fn a_model_made_of_known_parts_gives_them_back_and_no_part_of_it_is_a_model() {
    let services = prop::collection::btree_map("[a-zй][a-z0-9_.-]{0,5}", service(), 1..4);
    hold(300, (services, any::<prop::sample::Index>()), |(services, cut)| {
        let doubled = |text: &str| text.replace('$', "$$");
        let mut map = Map::new();
        for (name, (image, env, command, binds, port, udp)) in &services {
            let env: Map<String, Value> = env.iter().map(|(k, v)| (k.clone(), doubled(v).into())).collect();
            let binds: Vec<Value> = binds
                .iter()
                .map(|(p, ro)| json!({ "type": "bind", "source": p, "target": p, "read_only": ro }))
                .collect();
            let mut ports = Vec::new();
            if *udp {
                ports.push(json!({ "target": 53, "published": "53", "protocol": "udp" }));
            }
            ports.extend(port.map(
                |p| json!({ "target": 80, "published": p.to_string(), "protocol": "tcp", "host_ip": "::1" }),
            ));
            map.insert(
                name.clone(),
                json!({
                    "image": image, "environment": env, "volumes": binds, "ports": ports,
                    "command": command.iter().map(|w| doubled(w)).collect::<Vec<_>>(),
                }),
            );
        }
        let text = json!({ "name": "p", "services": map }).to_string();
        let model = Model::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(model.services(), services.keys().cloned().collect::<Vec<_>>());
        for (name, (image, env, command, binds, port, _)) in &services {
            let image = image.clone().unwrap_or_else(|| format!("p-{name}"));
            prop_assert_eq!(model.image_name("p", name), image);
            prop_assert_eq!(&model.environment(name), env);
            prop_assert_eq!(&model.command(name), command);
            let bind =
                |(p, ro): &(String, bool)| Bind { source: p.clone(), target: p.clone(), read_only: *ro };
            prop_assert_eq!(model.binds(name), binds.iter().map(bind).collect::<Vec<_>>());
            prop_assert_eq!(
                model.published(name),
                port.map(|port| Port { inside: 80, host: "::1".into(), port })
            );
        }
        let part = &text.as_bytes()[..cut.index(text.len())];
        prop_assert!(Model::parse(part).is_err(), "a part of a model");
        Ok(())
    });
}

fn inspected() -> impl Strategy<Value = Container> {
    let text = || "[a-zй:=0-9 ./-]{0,8}";
    let pairs = prop::collection::vec(("[A-Z]{1,4}", text()), 0..3);
    let binds = prop::collection::vec((text(), text(), any::<bool>()), 0..3);
    let parts = (
        ("[a-f0-9]{12}", text(), text(), proptest::option::of("healthy|starting|unhealthy")),
        (-1..300i64, 0..9u64, pairs, binds),
        (prop::collection::vec(text(), 0..3), text()),
    );
    parts.prop_map(|((id, service, hostname, health), (exit_code, restarts, env, binds), (argv, started))| {
        Container {
            image: format!("sha256:{id}"),
            id,
            service,
            state: "running".into(),
            exit_code,
            health,
            started,
            restarts,
            hostname,
            config_hash: String::new(),
            binds: binds
                .into_iter()
                .map(|(source, target, read_only)| Bind { source, target, read_only })
                .collect(),
            ports: Vec::new(),
            env,
            argv,
        }
    })
}

fn printed(c: &Container) -> Value {
    let mounts: Vec<Value> = c
        .binds
        .iter()
        .map(|b| json!({ "Type": "bind", "Source": b.source, "Destination": b.target, "RW": !b.read_only }))
        .collect();
    json!({
        "Id": c.id, "Image": c.image, "RestartCount": c.restarts, "Mounts": mounts,
        "State": { "Status": c.state, "ExitCode": c.exit_code, "StartedAt": c.started,
                   "Health": c.health.as_ref().map(|h| json!({ "Status": h })) },
        "Config": { "Hostname": c.hostname, "Labels": { "com.docker.compose.service": c.service },
                    "Env": c.env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
                    "Entrypoint": null, "Cmd": c.argv },
    })
}

#[test]
fn containers_come_back_as_docker_has_them_and_no_part_of_the_list_is_one() {
    hold(300, (prop::collection::vec(inspected(), 0..4), any::<prop::sample::Index>()), |(list, cut)| {
        let text = Value::from(list.iter().map(printed).collect::<Vec<_>>()).to_string();
        prop_assert_eq!(containers::parse(text.as_bytes()).unwrap(), list);
        prop_assert!(containers::parse(&text.as_bytes()[..cut.index(text.len())]).is_err());
        Ok(())
    });
}

/// A container without an id or a state would look like one that is not running.
#[test]
fn what_is_no_container_is_an_error_that_says_what_is_missing() {
    hold(400, prop::collection::vec(any_json(), 1..3), |list| {
        let whole =
            |v: &Value| v["Id"].is_string() && v["Image"].is_string() && v["State"]["Status"].is_string();
        let parsed = containers::parse(Value::from(list.clone()).to_string().as_bytes());
        prop_assert_eq!(parsed.is_ok(), list.iter().all(whole), "{:?}", list);
        if let Err(why) = parsed {
            let named = format!("{why:#}").contains("docker inspect");
            prop_assert!(named, "{:#}", why);
        }
        Ok(())
    });
}

#[test]
fn every_entry_of_an_archive_is_restored_once_in_its_order() {
    let kind = proptest::sample::select(vec![
        "SCHEMA -",
        "TABLE public",
        "MATERIALIZED VIEW DATA public",
        "MATERIALIZED VIEW public",
        "COMMENT - SCHEMA",
        "TABLE DATA my ext",
    ]);
    let one = (1..9999u32, kind, "[a-z;й \"-]{1,8}")
        .prop_map(|(id, kind, name)| format!("{id}; 1259 {id} {kind} {name} admin"));
    let line =
        prop_oneof![5 => one, 1 => "; [a-z;: ]{0,12}", 1 => Just(";".to_string()), 1 => Just(String::new())];
    hold(
        500,
        (prop::collection::vec(line, 0..20), prop::collection::vec("[a-zй ]{1,6}", 0..3)),
        |(lines, schemas)| {
            let of = |kind| -> Vec<&str> {
                let lines = lines.iter().map(String::as_str);
                lines.filter(|l| entry(l, &schemas) == Some(kind)).collect()
            };
            let (first, rest) = (of(Entry::First), of(Entry::Rest));
            let entries: Vec<&str> =
                lines.iter().map(String::as_str).filter(|l| !l.is_empty() && !l.starts_with(';')).collect();
            let left_out =
                |l: &&str| l.splitn(4, ' ').nth(3).is_some_and(|w| w.starts_with("MATERIALIZED VIEW DATA "));
            let (views, wanted): (Vec<&str>, Vec<&str>) = entries.into_iter().partition(left_out);
            prop_assert_eq!((first.len() + rest.len(), of(Entry::LeftOut)), (wanted.len(), views));
            prop_assert!(first.iter().all(|l| l.contains(" SCHEMA - ")));
            let mut merged = first.iter().peekable();
            let restored: Vec<&str> =
                wanted.iter().filter(|l| merged.next_if_eq(l).is_none()).copied().collect();
            prop_assert_eq!(restored, rest, "{:?}", first);
            Ok(())
        },
    );
}
