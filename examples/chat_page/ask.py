"""Ask: a first use of the chat page. Standard library only."""

import sys
import urllib.parse
import urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> int:
    """Ask one question; fail if the response contains no answer."""
    page, question = sys.argv[1:]
    with OPENER.open(f"{page}?{urllib.parse.urlencode({'ask': question})}", timeout=120) as answer:
        said = answer.read().decode().partition("<p>")[2].partition("</p>")[0]
    print(said)
    return 0 if said.strip() else 1


if __name__ == "__main__":
    sys.exit(main())
