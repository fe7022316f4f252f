# Completion of vdsm-client for fish; the program itself tells the words.
complete -c vdsm-client -f -k -a '(vdsm-client complete fish (commandline -cp | string collect) 2>/dev/null)'
complete -c vdsm-client -s f -l file -r -F
complete -c vdsm-client -l cert -r -F
complete -c vdsm-client -l key -r -F
complete -c vdsm-client -l ca -r -F
