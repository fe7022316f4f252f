"""A client that this project did not write: stomp.py, as Debian packages it, against a running agent.

Does by TLS what an oVirt client does: connect, subscribe, calls, a batch, events, heart-beats, a polite end.
Says what it saw as one JSON object on standard output; the test beside it judges.

Arguments: host, port, file of the CA, certificate, key, file with the domain XML of a machine, its id.
"""

import json
import queue
import sys
import threading
import time

import stomp

PATIENCE = 60
REPLIES = "foreign.replies"
EVENTS = "jms.queue.events"
REQUESTS = "jms.topic.vdsm_requests"


class Listener(stomp.ConnectionListener):
    """Keeps what comes, by its destination."""

    def __init__(self):
        self.connected = None
        self.errors = []
        self.beats = 0
        self.missed_beats = 0
        self.receipts = []
        self.gone = threading.Event()
        self.subscribed = threading.Event()
        self.queues = {REPLIES: queue.Queue(), EVENTS: queue.Queue()}

    def on_connected(self, frame):
        self.connected = dict(frame.headers)

    def on_message(self, frame):
        self.queues[frame.headers["destination"]].put(frame)

    def on_error(self, frame):
        self.errors.append(str(frame.body))

    def on_receipt(self, frame):
        self.receipts.append(frame.headers["receipt-id"])
        if frame.headers["receipt-id"] == "subscribed":
            self.subscribed.set()

    def on_heartbeat(self):
        self.beats += 1

    def on_heartbeat_timeout(self):
        self.missed_beats += 1

    def on_disconnected(self):
        self.gone.set()


class Client:
    """A connection, and calls on it."""

    def __init__(self, address, ca, cert, key):
        self.seen = Listener()
        self.connection = stomp.Connection12([address], heartbeats=(1000, 1000), reconnect_attempts_max=1)
        self.connection.set_ssl(for_hosts=[address], ca_certs=ca, cert_file=cert, key_file=key)
        self.connection.set_listener("seen", self.seen)
        self.connection.connect(wait=True)

    def subscribe(self):
        self.connection.subscribe(REPLIES, id="replies", ack="auto")
        self.connection.subscribe(EVENTS, id="events", ack="auto", headers={"receipt": "subscribed"})
        assert self.seen.subscribed.wait(PATIENCE), "no receipt for a subscription"

    def ask(self, body):
        headers = {"reply-to": REPLIES, "ovirtCorrelationId": "foreign: flow\\1"}
        self.connection.send(REQUESTS, json.dumps(body), content_type="application/json", headers=headers)
        return json.loads(self.seen.queues[REPLIES].get(timeout=PATIENCE).body)

    def call(self, method, params, number):
        return self.ask(request(method, params, number))

    def wait_until_serving(self):
        end = time.monotonic() + PATIENCE
        while self.call("Host.ping2", {}, 0).get("error", {}).get("code") == 99:
            assert time.monotonic() < end, "the agent does not serve"
            time.sleep(0.1)


def request(method, params, number):
    return {"jsonrpc": "2.0", "method": method, "params": params, "id": number}


def main():
    host, port, ca, cert, key, xml, vm = sys.argv[1:]
    client = Client((host, int(port)), ca, cert, key)
    seen = client.seen
    client.subscribe()
    client.wait_until_serving()
    told = {"version": ".".join(map(str, stomp.__version__)), "connected": seen.connected}
    told["ping"] = client.call("Host.ping2", {}, "an id")
    told["missing"] = client.call("Host.noSuchVerb", {}, 2)
    told["capabilities"] = sorted(client.call("Host.getCapabilities", {}, 3)["result"])
    told["batch"] = client.ask([request("Host.ping2", {}, 4), request("Host.noSuchVerb", {}, 5)])
    with open(xml, encoding="utf-8") as file:
        client.call("VM.create", {"vmID": vm, "vmParams": {"xml": file.read()}}, 6)
    event = seen.queues[EVENTS].get(timeout=PATIENCE)
    told["event"] = json.loads(event.body)
    told["event_headers"] = dict(event.headers)
    # Silence but for beats: both sides must find the other alive.
    time.sleep(5)
    told["after_silence"] = client.call("Host.ping2", {}, 7)
    told["beats"], told["missed_beats"] = seen.beats, seen.missed_beats
    client.connection.send("nobody.listens.here", "x")
    client.connection.disconnect(receipt="the end")
    told["ended"] = seen.gone.wait(PATIENCE)
    told["receipts"], told["errors"] = seen.receipts, seen.errors
    json.dump(told, sys.stdout)


main()
