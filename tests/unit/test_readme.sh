#!/usr/bin/env bash
# test_readme.sh: the README's tour names every source file.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
missing=0
for file in api/*/*.c model/*/*.c server/*.c client/*.c; do
    name=$(basename "$file" .c)
    grep -qF "\`$name\`" README.md || {
        echo "README.md does not name $file"
        missing=1
    }
done
exit "$missing"
