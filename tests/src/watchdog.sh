# Runs a program for a test process, and outlives neither: standard input is a pipe from that process, and when it ends
# (the process is gone, however it went) the program is killed and the folder removed.
#
#   watchdog.sh FOLDER SIGNAL PROGRAM ARGUMENTS...
#
# Orders, one a line: "start", "signal NAME". Answers: "started PID", "exited STATUS".
folder=$1
signal=$2
shift 2
while read -r order name; do
    case $order in
    start)
        {
            "$@" >>"$folder/stdout" 2>>"$folder/stderr" &
            pid=$!
            echo "$pid" >"$folder/pid"
            # The end may have come before the pid was there to be seen.
            [ ! -e "$folder/ended" ] || kill -KILL "$pid"
            echo "started $pid"
            wait "$pid"
            status=$?
            PATH=$PATH:/usr/bin:/bin
            rm -f "$folder/pid"
            echo "exited $status"
        } &
        ;;
    signal)
        read -r pid <"$folder/pid" && kill "-$name" "$pid"
        ;;
    esac
done
: >"$folder/ended"
if [ -e "$folder/pid" ]; then
    read -r pid <"$folder/pid"
    kill "-$signal" "$pid"
    # A paused program would not notice.
    kill -CONT "$pid"
fi
wait
PATH=$PATH:/usr/bin:/bin
rm -rf "$folder"
