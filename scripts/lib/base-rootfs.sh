#!/usr/bin/env bash
# Makes the root file system that stands in for debian:bookworm-slim and writes it to
# stdout as a tar archive. Runs as root in a mount and process namespace of its own
# (see images.sh), so that whatever ends it takes its mounts and children along.
#   base-rootfs.sh WORKDIR CONFDIR KEYRING [MIRROR [SECURITY_MIRROR]]
# Without MIRROR, debootstrap's own default is used.
set -euo pipefail

root=$1/rootfs conf=$2 keyring=$3 mirror=${4-} security=${5-}

{
  debootstrap --variant=minbase --keyring="$keyring" bookworm "$root" ${mirror:+"$mirror"}

  # No service may start while packages are installed into an image.
  printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  install -m 644 "$conf/dpkg.cfg" "$root/etc/dpkg/dpkg.cfg.d/image"
  install -m 644 "$conf/apt.conf" "$root/etc/apt/apt.conf.d/image"

  # The release alone lacks the fixes made since. Where the name of the security
  # mirror is only a guess, it must not cost the base.
  main_line=$(grep -m1 '^deb ' "$root/etc/apt/sources.list")
  if [[ -z $security ]]; then
    security=$(awk '{ sub(/\/$/, "", $2); print $2 "-security" }' <<< "$main_line")
  fi
  printf '%s\ndeb %s bookworm-security main\n' "$main_line" "$security" > "$root/etc/apt/sources.list"
  if ! chroot "$root" apt-get -o APT::Update::Error-Mode=any update; then
    echo "no security updates at $security: going on without"
    printf '%s\n' "$main_line" > "$root/etc/apt/sources.list"
    chroot "$root" apt-get update
  fi
  DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -y --no-install-recommends dist-upgrade

  # What dpkg.cfg leaves out of later packages, removed from those already unpacked.
  find "$root/usr/share/doc" -type f ! -name copyright -delete
  find "$root/usr/share/doc" -depth -mindepth 1 \( -type l -o -type d -empty \) -delete
  find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name locale.alias -exec rm -rf {} +
  rm -rf "$root"/usr/share/{man,info,lintian}/* "$root"/var/lib/apt/lists/* \
    "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/log/*.log \
    "$root"/var/log/apt "$root"/tmp/*
  # Of this machine, not of the image: the engine supplies both to each container.
  : > "$root/etc/resolv.conf"
  rm -f "$root/etc/hostname"
} >&2

tar -C "$root" --numeric-owner --one-file-system -c .
