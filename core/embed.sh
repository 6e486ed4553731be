#!/bin/sh
# embed.sh INPUT OUTPUT - a text file as a C string literal, to be included as an initializer.
set -eu
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/"&\\n"/' "$1" > "$2"
