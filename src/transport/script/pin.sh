# How a directory is gone to without being led astray.
refuse() { printf '%s\n' "$*"; return 1; }
# enter MISSING DIRECTORY: goes there step by step. Each step is pinned before it is judged: where the new parent is
# not the directory we came from, a link was followed, and only root or we may have been able to plant it.
enter() {
  missing=$1 whole=$2 rest=${2#/}
  cd / || return
  while [ -n "$rest" ]; do
    part=${rest%%/*}
    case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
    case $part in ''|.) continue ;; esac
    if [ ! -e "./$part" ] && [ ! -L "./$part" ] && [ "$missing" = make ]; then
      (umask 022 && mkdir "./$part") || return
    fi
    if [ -r . ]; then
      exec 8<.
      cd -P "./$part" || return
      [ .. -ef /proc/self/fd/8 ] || trusted || { refuse "$whole: $part is a link that others could have planted"; return; }
    elif [ -L "./$part" ]; then refuse "$whole: $part is a link in a directory that cannot be read"; return
    else cd -P "./$part" || return
    fi
  done
}
# trusted: nobody but root and us can put anything into the directory of descriptor 8.
trusted() {
  d=$(stat -L -c '%u:%a' /proc/self/fd/8) || return
  case ${d%%:*} in 0|"$me") ;; *) return 1 ;; esac
  case $d in *[2367]|*[2367]?) return 1 ;; esac
}
