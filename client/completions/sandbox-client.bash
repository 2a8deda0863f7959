# Completion of sandbox-client for bash.
_sandbox_client() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  case $previous in
    --script | --stats-json | --frame-log)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return ;;
    --size)
      mapfile -t COMPREPLY < <(compgen -W '1280x800 1920x1080 2560x1440 3840x2160' -- "$current")
      return ;;
    --transport)
      mapfile -t COMPREPLY < <(compgen -W 'auto udp websocket' -- "$current")
      return ;;
    --monitors)
      mapfile -t COMPREPLY < <(compgen -W 'all 1 1,2' -- "$current")
      return ;;
  esac
  if [[ $current == -* ]]; then
    local flags='--size --fullscreen --monitors --trust-on-first-use --enrol --forget
      --transport --headless --probe --script --stats-json --frame-log --help --version'
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -A hostname -- "$current")
  fi
}
complete -F _sandbox_client sandbox-client
