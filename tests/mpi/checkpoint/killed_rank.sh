#!/usr/bin/env bash
# killed_rank.sh JOB MPIRUN: a rank of two dies by SIGKILL at a point of a save; then three ranks load the checkpoint that
# must be the newest, with no clean-up in between.
set -uo pipefail
job=$1 mpirun=$2
run=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" lamina-test-XXXXXX)
trap 'rm -rf "$run"' EXIT
failed=0

expect() { # what, status wanted (0 or other), command...
  local what=$1 wanted=$2 status=0
  shift 2
  "$@" >"$run/log" 2>&1 || status=1
  [ "$status" = "$wanted" ] && return
  echo "$what: status $status, expected $wanted"
  cat "$run/log"
  failed=1
}

expect "save step 1" 0 "$mpirun" 2 "$job" save "$run" 1
newest=1
step=1
for case in checkpoint.write:1:3 checkpoint.manifest.rename:0:1 checkpoint.commit.fsync:0:1; do
  IFS=: read -r point rank passage <<<"$case"
  step=$((step + 1))
  LAMINA_FAULT=$point:kill:$rank:$passage expect "save step $step with a kill at $point" 1 "$mpirun" 2 "$job" save "$run" $step
  [ "$point" = checkpoint.commit.fsync ] && newest=$step # the rename was the commit
  expect "load after a kill at $point" 0 "$mpirun" 3 "$job" load "$run" $newest
done
expect "save step 9" 0 "$mpirun" 2 "$job" save "$run" 9
left=$(find "$run/checkpoints" -maxdepth 1 -name '.*' ! -path "$run/checkpoints" | wc -l)
[ "$left" = 0 ] || { echo "$left leftovers after a complete save" && failed=1; }
exit $failed
