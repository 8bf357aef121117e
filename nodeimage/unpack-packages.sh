#!/bin/sh
# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Customise hook of mmdebstrap; $1 is the new root. Unpacks the packages named in $INGOT_UNPACK into /.ingot/unpacked
# of that root and records each one's control fields in /.ingot/unpacked.status.
set -eu
root=$1
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

debs="$root/.ingot/debs"
mkdir -p "$debs" "$root/.ingot/unpacked"
chmod 0755 "$root/.ingot" "$debs"

for name in $INGOT_UNPACK; do
    case "$name" in
    kernel:*)
        name=$(apt-cache depends --important "${name#kernel:}" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
        [ -n "$name" ] || { echo "no kernel package found behind the metapackage" >&2; exit 1; }
        ;;
    esac
    (cd "$debs" && apt-get --quiet --quiet --option APT::Sandbox::User=root download "$name")
done

for deb in "$debs"/*.deb; do
    dpkg-deb --extract "$deb" "$root/.ingot/unpacked"
    dpkg-deb --field "$deb" Package Source Version Architecture Maintainer >>"$root/.ingot/unpacked.status"
    echo >>"$root/.ingot/unpacked.status"
done
rm -rf "$debs"
