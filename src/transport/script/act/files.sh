# Steps that make, change and remove what is in directories.
# settle TARGET OWNER GROUP MODE: what is empty stays. The mode comes last: chown takes special bits away.
settle() {
  if [ -n "$2$3" ] && ! roots "$@"; then chown -- "$2${3:+:$3}" "$1" || return; fi
  if [ -n "$4" ]; then chmod -- "$4" "$1" || return; fi
}
# roots TARGET OWNER GROUP: whether it shall be root's as a whole, and we are root, and it is.
roots() { [ "$2:$3:$me:$us" = root:root:0:0 ] && [ -O "$1" ] && [ -G "$1" ]; }
# ours OWNER GROUP: whether what we make would be theirs.
ours() {
  case $1:$2 in
    :) ;;
    root:root|root:|:root) [ "$me:$us" = 0:0 ] ;;
    *) return 1 ;;
  esac
}
# put PATH OWNER GROUP MODE FUNCTION ARGUMENT...: FUNCTION fills the new file $f, descriptor 7, and says whether it is as it should be.
put() {
  path=$1 owner=$2 group=$3 mode=$4
  shift 4
  approach || return
  case $drafted in
    *" $i "*) ;;
    *) inherit && (fill "$@") || { rm -f -- "$new"; return 1; } ;;
  esac
  mv -f -T -- "$new" "$name" && { [ -n "$later" ] || flush .; } && return
  rm -f -- "$new"
  return 1
}
# approach: goes to where $path shall be, a file or nothing until then.
approach() {
  enter no "${path%/*}" || return
  name=./${path##*/} new=./.armilla-$N-$i
  tidy
  if [ -L "$name" ]; then refuse "$path is a symbolic link; a file is not written over it"; return; fi
  if [ -e "$name" ] && [ ! -f "$name" ]; then refuse "$path is there and no file"; return; fi
}
# inherit: what was not asked for is as on the file that is there, or as its owner has it.
inherit() { if [ -f "$name" ]; then keep "$name"; else own; fi; }
# draft INDEX PATH OWNER GROUP MODE SIZE CONTENT: what a step will put is written beforehand, so that many files need one
# `stat` and one `sync`. Whatever is in the way is for the step to tell; then there is no draft.
draft() {
  eval "p$1=\${2%/*}/.armilla-\$N-$1"
  drafts="$drafts \"\$p$1\""
  o=$(sketch "$@" 2>/dev/null) || return 0
  o=${o#0}
  good="$good $1 " some="$some \"\$p$1\"" sizes="$sizes$6:${o#0}$nl"
}
# sketch INDEX PATH OWNER GROUP MODE SIZE CONTENT: says which mode it shall have.
sketch() {
  i=$1 path=$2 owner=$3 group=$4 mode=$5
  approach >&2 && inherit || return
  if create && "$7" >&7 && { [ -n "$masked" ] || settle "$f" '' '' "$mode"; }; then printf %s "$mode"; return; fi
  rm -f -- "$new"
  return 1
}
# examine: drafts are believed if all are whole, and on the disk from then on.
drafted= good= some= sizes=
examine() {
  if [ -n "$some" ] && o=$(eval "stat -c %s:%a -- $some" 2>/dev/null) && [ "$o$nl" = "$sizes" ]; then
    drafted=$good
    eval "sync $some" 2>/dev/null || sync
  else discard
  fi
  good= some= sizes=
  # crash point
}
# discard: what no step will use any more.
discard() {
  [ -z "$drafts" ] || eval "rm -f -- $drafts"
  drafts=
}
# persist: that files have their names reaches the disk; where it is for later, once for all of them.
later=
persist() { :; }
# flush DIRECTORY...: the names in those that are there.
flush() {
  for d do
    shift
    [ ! -d "$d" ] || set -- "$@" "$d"
  done
  [ $# = 0 ] || sync "$@" 2>/dev/null || sync
}
# keep FILE: what was not asked for stays as it is on the file that is there.
keep() {
  o=$(stat -c %u:%g:%a -- "$1") || return
  is=${o##*:}
  while [ "${#is}" -lt 5 ]; do is=0$is; done
  mode=${mode:-$is}
  owner=${owner:-${o%%:*}}
  o=${o#*:}
  group=${group:-${o%%:*}}
}
# own: what is new for an owner has the owner's group.
own() { [ -n "$group" ] || [ -z "$owner" ] || group=$(id -g "$owner"); }
# unchanged PATH DIGEST: fails unless the file is what it was. Without a digest there was none.
unchanged() {
  changed="$1 was changed since the plan was made: plan again"
  if [ -z "$2" ]; then
    [ ! -e "$1" ] && [ ! -L "$1" ] || refuse "$changed"
    return
  fi
  enter no "${1%/*}" || return
  name=./${1##*/}
  if [ -L "$name" ] || [ ! -f "$name" ]; then refuse "$changed"; return; fi
  o=$(sha256sum <"$name") || return
  [ "${o%% *}" = "$2" ] || refuse "$changed"
}
# fill FUNCTION ARGUMENT...: everything by the descriptor, so that a name that is swapped meanwhile changes nothing.
fill() {
  create && "$@" || return
  [ "$is" = "${mode#00}" ] || settle "$f" '' '' "$mode" || return
  sync "$f" 2>/dev/null || sync
}
# create: the new file, with its owner. Its mode is $masked, where nobody else is concerned.
create() {
  mode=${mode:-00644} is= masked=
  case $mode in 00[0-7][0-7][0-7]) ! ours "$owner" "$group" || masked=${mode#00} ;; esac
  [ -z "$masked" ] || unmask "$masked"
  set -C
  exec 7>"$new"
  set +C
  umask 077
  f=/proc/self/fd/7
  settle "$f" "$owner" "$group" ''
}
# unmask MODE: the mask under which a new file has at most these three digits.
unmask() {
  o=${1#?}
  umask "$((7 - ${1%??}))$((7 - ${o%?}))$((7 - ${o#?}))"
}
# bytes SIZE CONTENT: CONTENT is a function that writes them. The mode they have by then is $is.
bytes() {
  ("$2" >&7)
  got=$(stat -L -c %s:%a "$f")
  is=${got#*:} got=${got%:*}
  [ "$got" = "$1" ] || refuse "$path: only $got of $1 bytes could be written; is the disk full?"
}
# directory PATH OWNER GROUP MODE
directory() {
  enter make "${1%/*}" || return
  name=./${1##*/} owner=$2 group=$3 mode=$4
  if [ -L "$name" ]; then refuse "$1 is a symbolic link"; return; fi
  if [ ! -e "$name" ]; then
    mode=${4:-00755}
    # The mode at once, where nobody else is concerned. The mkdir of busybox would give it to whatever has the name by then.
    case $busy$mode in 00[0-7][0-7][0-7]) o=yes ;; *) o= ;; esac
    if [ -n "$o" ] && ours "$owner" "$group"; then mkdir -m "$mode" "$name" && mode= || return
    else mkdir "$name" && own || return
    fi
  fi
  if [ ! -d "$name" ]; then refuse "$1 is there and no directory"; return; fi
  exec 8<.
  cd -P "$name" || return
  [ .. -ef /proc/self/fd/8 ] || { refuse "$1 became a symbolic link"; return; }
  settle . "$owner" "$group" "$mode"
}
# link PATH TARGET
link() {
  enter no "${1%/*}" || return
  name=./${1##*/} new=./.armilla-$N-$i
  if [ -e "$name" ] && [ ! -L "$name" ]; then refuse "$1 is there and no symbolic link"; return; fi
  ln -s -- "$2" "$new" && mv -f -T -- "$new" "$name" && return
  rm -f -- "$new"
  return 1
}
# attributes PATH OWNER GROUP MODE
attributes() {
  enter no "${1%/*}" || return
  name=./${1##*/} f=./${1##*/}
  if [ -L "$name" ]; then refuse "$1 is a symbolic link"; return; fi
  if [ ! -e "$name" ]; then refuse "there is nothing at $1"; return; fi
  if { [ -f "$name" ] || [ -d "$name" ]; } && [ -r "$name" ]; then
    exec 7<"$name"
    f=/proc/self/fd/7
    if [ -L "$name" ] || [ ! "$name" -ef "$f" ]; then refuse "$1 was swapped meanwhile"; return; fi
  fi
  settle "$f" "$2" "$3" "$4"
}
# delete PATH KIND: nothing there is success.
delete() {
  d=${1%/*}
  while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done
  if [ "$d" != "${1%/*}" ]; then
    [ ! -d "${d:-/}" ] || [ -x "${d:-/}" ] || refuse "permission denied: cannot look into $d"
    return
  fi
  enter no "$d" || return
  name=./${1##*/}
  [ -e "$name" ] || [ -L "$name" ] || return 0
  if [ -L "$name" ]; then is=link
  elif [ -f "$name" ]; then is=file
  elif [ -d "$name" ]; then is=directory
  else is=other
  fi
  if [ "$is" != "$2" ]; then refuse "$1 is no $2 but a $is: not removed"; return; fi
  case $is in directory) rmdir -- "$name" ;; *) rm -f -- "$name" ;; esac
}
