# Where armilla keeps what it must know about this host. A test on the machine it runs on has a place of its own; over ssh nobody
# can set it.
if [ "$(id -u)" = 0 ]; then S=/var/lib/armilla/host
else
  case ${XDG_STATE_HOME:-} in
    /*) S=${XDG_STATE_HOME%/}/armilla/host ;;
    *) S=${HOME:+${HOME%/}/.local/state/armilla/host} ;;
  esac
fi
case ${ARMILLA_HOST_DIR:-} in /*) S=${ARMILLA_HOST_DIR%/}/host ;; esac
