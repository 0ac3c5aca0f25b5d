# shellcheck shell=bash
# Compose v2 and buildx for Debian 12, whose archive has neither. The binaries of
# Debian 13 need nothing but a C library that Debian 12 has, so they are taken out of
# its packages; the system's own package lists and configuration are not touched.

PLUGIN_DIR=/usr/local/lib/docker/cli-plugins
LENDER=trixie
DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# borrow_plugins NAME...: for the background; every command decides by itself.
borrow_plugins() {
  local dir=$WORK/plugins uri name
  uri=$(uri_of Debian)
  [[ -n $uri ]] || { echo "apt's configuration names no Debian archive to fetch from"; return 1; }
  [[ -r $DEBIAN_KEYRING ]] || { echo "$DEBIAN_KEYRING is missing: install debian-archive-keyring"; return 1; }
  mkdir -p "$dir"/{lists/partial,cache/archives/partial,unpacked} || return 1
  # Only the package list: the system may ask for more kinds of index, none needed here.
  printf '%s\n' 'Types: deb' "URIs: $uri" "Suites: $LENDER" 'Components: main' 'Targets: Packages' \
    "Signed-By: $DEBIAN_KEYRING" > "$dir/lender.sources" || return 1

  local -a apt=(apt-get
    -o "Dir::State::lists=$dir/lists"
    -o "Dir::Cache=$dir/cache"
    -o "Dir::Etc::sourcelist=$dir/lender.sources"
    -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null
    -o Dir::Etc::preferencesparts=/dev/null
    # Hooks of the system's apt would act upon the system's lists.
    -o APT::Update::Post-Invoke-Success= -o APT::Update::Post-Invoke=
    # A root's apt fetches as another user, who cannot write here; a plain user's apt
    # has no one to change to.
    -o APT::Sandbox::User=)
  "${apt[@]}" -o APT::Update::Error-Mode=any update || return 1
  (cd "$dir" && "${apt[@]}" download "${@/#/docker-}") || return 1
  for name in "$@"; do
    dpkg-deb --extract "$dir/docker-${name}"_*.deb "$dir/unpacked" || return 1
    install_plugin "$dir/unpacked/usr/libexec/docker/cli-plugins/docker-$name" || return 1
  done
}

# The binary shows that it runs here before it takes its name, in one rename.
install_plugin() {
  local source=$1 name new
  name=$(basename "$1")
  "$source" docker-cli-plugin-metadata || { echo "$name of Debian 13 does not run on this system"; return 1; }
  new=$PLUGIN_DIR/.$name.new
  as_root mkdir -p "$PLUGIN_DIR" &&
    as_root install -m 755 "$source" "$new" &&
    as_root mv -f "$new" "$PLUGIN_DIR/$name"
}

# After an interruption: a copy that never got its name.
end_plugins() {
  local name
  for name in "${BORROW[@]}"; do
    [[ ! -e $PLUGIN_DIR/.docker-$name.new ]] || as_root rm -f "$PLUGIN_DIR/.docker-$name.new"
  done
}
