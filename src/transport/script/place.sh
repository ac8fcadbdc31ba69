# Where armilla keeps what it must know about this host.
if [ "$(id -u)" = 0 ]; then S=/var/lib/armilla/host
else
  case ${XDG_STATE_HOME:-} in
    /*) S=${XDG_STATE_HOME%/}/armilla/host ;;
    *) S=${HOME:+${HOME%/}/.local/state/armilla/host} ;;
  esac
fi
