# Completion of vdsm-client for bash; the program itself tells the words.
_vdsm_client() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <("$1" complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    # A parameter waits for its value.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
complete -o default -F _vdsm_client vdsm-client
