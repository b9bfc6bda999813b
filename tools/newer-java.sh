#!/bin/sh
# newer-java.sh: prints the home of a JDK of 21 or newer, or says on stderr that there is none.
for home in "${STACK_JAVA:-}" "${JAVA_HOME:-}" /usr/lib/jvm/*; do
    test -x "$home/bin/javac" || continue
    version=$("$home/bin/javac" -version 2>/dev/null | sed -n 's/^javac \([0-9]*\).*/\1/p')
    if test "${version:-0}" -ge 21; then echo "$home"; exit 0; fi
done
echo "left out: the stack, as there is no JDK of 21 or newer in STACK_JAVA, JAVA_HOME or /usr/lib/jvm" >&2
exit 1
