# shellcheck shell=sh
# What tests/quick, tests/lab and tests/run share: steps that are timed, counted, and do not hide each other's failures.

steps_log=$(mktemp)
steps_failed=$(mktemp)
trap 'rm -f "$steps_log" "$steps_failed"' EXIT
steps_begun=$(date +%s)

# step COMMAND...: runs it, shows its output and how long it took, and goes on if it fails.
step() {
    printf '\n== %s\n' "$*"
    step_begun=$(date +%s)
    # A pipe would hide the exit status, so it travels in a file of its own.
    { "$@" 2>&1 || echo "$*" >>"$steps_failed"; } | tee -a "$steps_log"
    printf '(%s s)\n' "$(($(date +%s) - step_begun))"
}

# finish: the sum of all test results and the time; ends the script.
finish() {
    awk -v seconds="$(($(date +%s) - steps_begun))" '
        /^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END {
            printf "\n%d min %02d s\n", seconds / 60, seconds % 60
            printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored
        }' "$steps_log"
    [ -s "$steps_failed" ] || exit 0
    printf 'failed:\n' >&2
    sed 's/^/  /' "$steps_failed" >&2
    exit 1
}
