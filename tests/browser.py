"""What a browser that a test drives has logged."""

import json


def logged(driver, *, within=("data:",)):
    """(console messages, addresses asked for but those within the page) since the last call."""
    console = [entry["message"] for entry in driver.get_log("browser")]
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return console, [url for url in asked if not url.startswith(within)]
