"""AWS's SNS, SQS and IAM as moto speaks them: a server of its own, in a process that can be stopped, on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import wait_for

REGION = "eu-central-1"


class Aws:
    """The server, and what an administrator does there."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
        )
        try:
            wait_for(self._answers, 30)
            self.keys = self._administrator()
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        try:
            self.post("moto-api/reset-auth", "inf")
        except OSError:
            return False
        return True

    def post(self, path: str, body: str) -> None:
        """A request to moto itself."""
        request = urllib.request.Request(f"{self.url}/{path}", body.encode(), {"Content-Type": "text/plain"})
        with urllib.request.urlopen(request, timeout=5):
            return

    def client(self, service: str) -> Any:
        """boto3's client of the administrator."""
        import boto3

        identity, key = getattr(self, "keys", ("first", "first"))
        return boto3.session.Session(identity, key, region_name=REGION).client(service, endpoint_url=self.url)

    def _administrator(self) -> tuple[str, str]:
        self.user("admin")
        self.allow("admin", "*")
        return self.key("admin")

    def user(self, name: str) -> None:
        """A new user without rights."""
        self.client("iam").create_user(UserName=name)

    def key(self, name: str) -> tuple[str, str]:
        """A new access key of a user."""
        made = self.client("iam").create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def allow(self, name: str, *actions: str) -> None:
        """Let a user do these, and nothing else; nothing where none is named."""
        statement = {"Effect": "Allow" if actions else "Deny", "Action": list(actions) or "*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client("iam").put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document)

    def enforce(self, on: bool) -> None:
        """Whether rights are looked at."""
        self.post("moto-api/reset-auth", "0" if on else "inf")

    def stall(self) -> None:
        """Have it answer nothing, with its connections open."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        self.resume()
        self._process.kill()
        self._process.wait(timeout=10)


class Alarms:
    """An SNS topic and a queue that is subscribed to it."""

    def __init__(self, aws: Aws, name: str, visibility: int = 30) -> None:
        self.sqs, self.sns = aws.client("sqs"), aws.client("sns")
        self.url = self.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(visibility)})["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.topic = self.sns.create_topic(Name=name)["TopicArn"]
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def publish(self, message: Any) -> None:
        """What CloudWatch does when an alarm changes its state."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.sns.publish(TopicArn=self.topic, Subject="ALARM", Message=text)

    def left(self) -> int:
        """Messages that are still in the queue, those that somebody has in hand included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def visibility(self, seconds: int) -> None:
        """How long a message that was taken stays hidden."""
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"VisibilityTimeout": str(seconds)})


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    made = Aws()
    yield made
    made.close()
