# Where armilla keeps what it must know about this host. A test on the machine it runs on has a place of its own: on other
# hosts only who may set the environment of a login could name another, and could do anything else there, too.
if [ "$me" = 0 ]; then S=/var/lib/armilla/host
else
  case ${XDG_STATE_HOME:-} in
    /*) S=${XDG_STATE_HOME%/}/armilla/host ;;
    *) S=${HOME:+${HOME%/}/.local/state/armilla/host} ;;
  esac
fi
case ${ARMILLA_HOST_DIR:-} in /*) S=${ARMILLA_HOST_DIR%/}/host ;; esac
