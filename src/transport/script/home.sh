# Where users are at home.
# home USER: the home directory that the accounts of this host have for a user. /nonexistent is Debian's word for none.
home() {
  o=$(getent passwd -- "$1") || return
  o=${o%:*}
  case ${o##*:} in
    /nonexistent|/) return 1 ;;
    /*) printf %s "${o##*:}" ;;
    *) return 1 ;;
  esac
}
