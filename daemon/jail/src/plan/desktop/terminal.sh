#!/bin/sh
echo 300 > /proc/self/oom_score_adj
exec /usr/bin/xterm -fa 'DejaVu Sans Mono' -fs 11 -bg '#1c2733' -fg '#e4e8ec' -cr '#8fb8de' \
    -geometry 88x24 -T Terminal -sl 2000 +bc -rightbar +sb -b 6 \
    -xrm '*wmTimeout: 20' -xrm '*internalBorder: 6' "$@"
