#compdef sandbox-client
# Completion of sandbox-client for zsh.
_arguments \
  '--size[size of the desktop]:WIDTHxHEIGHT:(1280x800 1920x1080 2560x1440 3840x2160)' \
  '--fullscreen[begin with the whole screen]' \
  '--monitors[fill several monitors with one desktop]:all or numbers:(all 1 1,2)' \
  '--trust-on-first-use[trust a key that is not known yet]' \
  '--enrol[sign in by a key of this device from now on]' \
  "--forget[forget the server's key]" \
  '--transport[the way to the server]:way:(auto udp websocket)' \
  '--headless[no window]' \
  '--probe[press keys, print times, and leave]' \
  '--script[timed input]:script:_files' \
  '--stats-json[a line of JSON for each second]:file:_files' \
  '--frame-log[a line of JSON for each update]:file:_files' \
  '(- *)--help[what there is]' \
  '(- *)--version[which version it is]' \
  ':server:_hosts'
