// The target that the tests' precompiled header belongs to.
int main() {
  return 0;
}
