"""Fencing an object in S3: written only if it is still the one whose token was compared (conditional writes, If-Match).

    python with_s3.py http://127.0.0.1:9000 reports

The token is part of the object's *content*. Metadata would not do: an ETag is made of the content, so two leaders who write the
same bytes leave the same ETag, and the condition of the older one would hold. Needs boto3, and a store that knows If-Match on
PutObject.
"""

import json
import sys

import boto3
from botocore.exceptions import ClientError

from leaderd.client import DaemonUnreachable, Leader, NotLeader

ELECTION, KEY = "daily-report", "daily-report.json"
CHANGED = {"PreconditionFailed", "ConditionalRequestConflict"}
GONE = {"NoSuchKey", "404"}
ATTEMPTS = 20


class StaleToken(Exception):
    """A later leader has written: nothing of ours was."""


def write(s3: "boto3.client", bucket: str, token: int, body: str) -> None:
    """Replace the report as the leader of that term. Raises `StaleToken`."""
    content = json.dumps({"token": token, "body": body}).encode()
    for _ in range(ATTEMPTS):
        try:
            there = s3.get_object(Bucket=bucket, Key=KEY)
        except ClientError as error:
            if error.response["Error"]["Code"] not in GONE:
                raise
            condition = {"IfNoneMatch": "*"}
        else:
            seen = json.load(there["Body"])["token"]
            if seen > token:
                raise StaleToken(f"token {token}: a later leader has written under {seen}")
            condition = {"IfMatch": there["ETag"]}
        try:
            s3.put_object(Bucket=bucket, Key=KEY, Body=content, ContentType="application/json", **condition)
            return
        except ClientError as error:
            # Somebody wrote between our look and our write, or deleted it: look again.
            if error.response["Error"]["Code"] not in CHANGED | GONE:
                raise
    raise TimeoutError(f"{KEY} changed under each of {ATTEMPTS} attempts")


def main() -> int:
    s3 = boto3.client("s3", endpoint_url=sys.argv[1])
    try:
        with Leader(ELECTION).guard("2s") as term:
            write(s3, sys.argv[2], term.token, "all is well")
    except (NotLeader, DaemonUnreachable) as error:
        print(f"skipped: {error}")
        return 0
    except StaleToken as error:
        print(error)
        return 1
    print(f"written under token {term.token}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
