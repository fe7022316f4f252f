//! Many calls over one connection.

use serde_json::{Value, json};

use super::{ID, World};

fn lines(output: &str) -> Vec<Value> {
    output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn each_call_has_its_line() {
    let world = World::new();
    let input = "Host ping2\n\
        \n\
        # a remark\n\
        Host echo 'message=two words'\n\
        {\"method\": \"Host.ping2\", \"id\": 7, \"flow_id\": \"f\"}\n\
        {\"method\": \"Not.declared\", \"params\": [1]}";
    let ran = world.run_with(&["--batch"], input);
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    let lines = lines(&ran.output);
    let numbers: Vec<_> = lines.iter().map(|line| line["line"].clone()).collect();
    assert_eq!(numbers, [1, 4, 5, 6]);
    assert_eq!(lines[0]["result"]["method"], "Host.ping2");
    assert_eq!(lines[1]["result"]["got"], json!({"message": "two words"}));
    assert_eq!(
        (&lines[2]["id"], &lines[2]["result"]["flow"]),
        (&json!(7), &json!("f"))
    );
    assert_eq!(lines[3]["result"]["got"], json!([1]));
}

#[test]
fn what_fails_is_told_and_the_next_call_goes_on() {
    let world = World::new();
    let input = format!(
        "VM getStats vmID={ID}\n\
         Host noSuch\n\
         Host echo 'message=\n\
         {{\"method\": \"Host.getStats\", \"timeout\": 0.2}}\n\
         {{\"method\": \"Host.ping2\", \"params\": 5}}\n\
         {{\"method\": \"Host.ping2\", \"parms\": {{}}}}\n\
         {{\"method\": \"Host.ping2\", \"timeout\": -1}}\n\
         Host ping2\n"
    );
    let ran = world.run_with(&["--batch", "--flow-id", "all"], &input);
    assert_eq!(ran.code, 1, "the first that failed: {}", ran.errors);
    assert_eq!(ran.errors, "vdsm-client: 7 of 8 calls failed\n");
    let lines = lines(&ran.output);
    let classes: Vec<_> = lines
        .iter()
        .map(|line| line["error"]["class"].as_str())
        .collect();
    let usage = Some("usage");
    assert_eq!(
        classes,
        [
            Some("agent"),
            usage,
            usage,
            Some("timeout"),
            usage,
            usage,
            usage,
            None
        ]
    );
    assert_eq!(lines[0]["error"]["code"], 1);
    assert_eq!(lines[0]["method"], "VM.getStats");
    assert_eq!(lines[7]["result"]["flow"], "all");
    assert!(!ran.output.contains('\u{1b}'));
}

#[test]
fn a_connection_that_is_lost_ends_the_batch() {
    let world = World::new();
    let port = world.address.port().to_string();
    drop(world);
    let ran = super::ran(
        &["-a", "127.0.0.1", "-p", &port, "--insecure", "--batch"],
        "Host ping2\nHost ping2\n",
    );
    assert_eq!((ran.code, ran.output.as_str()), (3, ""));
}
