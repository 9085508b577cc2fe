"""Entry: python3 -m local_cluster up | images [--demo] | status | crash | down [--purge]."""

import argparse
import sys

from . import commands, components
from .errors import ClusterError


def main() -> int:
    """Run one command; the exit code says how it went."""
    parser = argparse.ArgumentParser(
        prog="local_cluster",
        description="A local one-node cluster. CLUSTER=native|kind|current chooses which sort.",
    )
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("up", help="start the cluster, or repair it, or find it running")
    images = sub.add_parser("images", help="build the images and bring them to the cluster")
    images.add_argument("--demo", action="store_true", help="without those that only tests need")
    sub.add_parser("status", help="say whether it runs (exit code 3 if not)")
    crash = sub.add_parser("crash", help="kill one component and bring it back, as a test may")
    crash.add_argument("component", choices=components.CRASHABLE)
    crash.add_argument("--seconds", type=float, default=0, help="how long it is away")
    down = sub.add_parser("down", help="remove the cluster and all its data")
    down.add_argument("--purge", action="store_true", help="remove what was built for it, too")
    options = parser.parse_args()
    try:
        if options.command == "up":
            commands.up()
        elif options.command == "images":
            commands.make_images(tests=not options.demo)
        elif options.command == "status":
            commands.status()
        elif options.command == "crash":
            commands.crash(options.component, options.seconds)
        else:
            commands.down(purge=options.purge)
    except ClusterError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
