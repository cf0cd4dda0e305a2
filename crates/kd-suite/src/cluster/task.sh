#!/bin/sh
@options@
# Slurm lets a job go when one that it waits for ends, even if that is started again.
if [ "$KD_AFTER" ]; then
    queue=$(squeue --me --noheader --format=%F) && ! echo "$queue" | grep -qx "$KD_AFTER" || {
        scontrol requeue "$SLURM_JOB_ID"
        sleep 60
    }
fi

KD_TASK=$((@first@ + SLURM_ARRAY_TASK_ID)) @command@ &
kd=$!
# Near the end of its time it keeps its state, and goes on in another job; what Slurm takes away for others it
# starts again by itself, and what is cancelled stays so.
trap 'again=1; kill -TERM $kd' USR1
trap 'kill -TERM $kd' TERM
wait $kd
code=$?
while kill -0 $kd 2>/dev/null; do
    wait $kd
    code=$?
done
if [ "$code$again" = 751 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
