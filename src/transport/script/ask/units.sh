# units PROPERTIES NAME...: systemd writes times in the zone it is told. Of a script of System V it does not know whether it
# is enabled; only `is-enabled` looks. What the monotonic clock says is told last, as no unit may be younger than that.
units() {
  has systemctl || { tool units '' systemctl; return; }
  properties=$1
  shift
  bound 20
  o=$(export TZ=UTC; exec $bound systemctl show "--property=$properties" -- "$@" 2>&1)
  gather "$o" units code $?
  tick
  gather '' uptime "$now"
  case $o in
    *UnitFileState=generated*)
      for i in $(printf '%s\n' "$o" | awk -v RS= '/(^|\n)UnitFileState=generated(\n|$)/' | sed -n 's/^Id=//p'); do
        frame generated
        printf '%s ' "$i" >&3
        limit 20 systemctl is-enabled -- "$i" >&3 2>/dev/null
      done ;;
  esac
}
