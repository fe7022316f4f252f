#compdef vdsm-client
# Completion of vdsm-client for zsh; the program itself tells the words.
_vdsm-client() {
    local line word about
    local -a open_words open_about done_words done_about
    while IFS=$'\t' read -r word about; do
        if [[ $word == *= ]]; then
            open_words+=("$word") open_about+=("$word  $about")
        else
            done_words+=("$word") done_about+=("$word  $about")
        fi
    done < <("${words[1]}" complete zsh "${(j: :)words[1,CURRENT]}" 2>/dev/null)
    (( $#open_words + $#done_words )) || { _files; return }
    # A parameter waits for its value: no blank behind it.
    (( $#open_words )) && compadd -S '' -l -d open_about -a open_words
    (( $#done_words )) && compadd -l -d done_about -a done_words
}
if [[ $funcstack[1] == _vdsm-client ]]; then
    _vdsm-client "$@"
else
    compdef _vdsm-client vdsm-client
fi
