/* A library with code, constants, data and a marker that tests replace to get many different ones. */
const char library_marker[] = "MARKER-00000000";
int library_state[64] = {1};
int library_answer(int x)
{
    return x + library_state[0] + library_marker[7];
}
