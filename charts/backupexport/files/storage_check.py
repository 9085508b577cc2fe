"""Whether a runner can write to the volume of the exports."""

import os
import shutil
import tempfile

try:
    with tempfile.NamedTemporaryFile(dir="/exports", prefix=".check-") as file:
        os.fsync(file.fileno())
except OSError as error:
    raise SystemExit(
        f"uid {os.getuid()} can't write to the volume: {error.strerror}. Its StorageClass "
        "must honour fsGroup, or its root must be writable for gid 65532."
    ) from None
free = shutil.disk_usage("/exports").free / 2**30
print(f"the volume is writable, {free:.1f} GiB are free")
