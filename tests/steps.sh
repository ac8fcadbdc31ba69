# shellcheck shell=sh
# What tests/quick, tests/lab and tests/run share: steps that are timed, counted, and do not hide each other's failures.

steps_log=$(mktemp)
steps_failed=$(mktemp)
trap 'rm -f "$steps_log" "$steps_log.beside" "$steps_failed"' EXIT
steps_begun=$(date +%s)
# Many tests wait for a limit or another process: two processors do more than two of them at a time.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}"

# step COMMAND...: runs it, shows its output and how long it took, and goes on if it fails. Of tests that passed only the
# number is shown; of those that were ignored, why.
step() {
    printf '\n== %s\n' "$*"
    step_begun=$(date +%s)
    # A pipe would hide the exit status, so it travels in a file of its own.
    { "$@" 2>&1 || echo "$*" >>"$steps_failed"; } | tee -a "$steps_log" | sed -u '/^test .* \.\.\. ok$/d'
    printf '(%s s)\n' "$(($(date +%s) - step_begun))"
}

# nothing_ignored: fails if a test was ignored: where everything can run, everything does.
nothing_ignored() {
    # Not straight to the output, which goes into the same log.
    ignored=$(grep '^test .* \.\.\. ignored' "$steps_log") || return 0
    printf '%s\n' "$ignored"
    return 1
}

# beside COMMAND...: begins it, after the step that follows has begun, and shows it with `joined`. One at a time.
beside() {
    steps_beside=$*
    # Until then cargo holds the lock of its folder, and the longer one must not wait for the other.
    { sleep 3; "$@"; } >"$steps_log.beside" 2>&1 &
    steps_job=$!
}

# joined: waits for what runs beside the steps.
joined() {
    printf '\n== %s (beside the steps before)\n' "$steps_beside"
    wait "$steps_job" || echo "$steps_beside" >>"$steps_failed"
    cat "$steps_log.beside"
}

# finish: the sum of all test results and the time; ends the script.
finish() {
    awk -v seconds="$(($(date +%s) - steps_begun))" '
        /^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END {
            printf "\n%d min %02d s\n", seconds / 60, seconds % 60
            printf "%d passed, %d failed, %d ignored\n", passed, failed, ignored
        }' "$steps_log"
    [ -s "$steps_failed" ] || exit 0
    printf 'failed:\n' >&2
    sed 's/^/  /' "$steps_failed" >&2
    exit 1
}
