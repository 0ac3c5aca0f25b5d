"""The version of this code: the API, the worker and the image each report theirs."""

VERSION = "1"

# The sample versions in ops/demo/versions are patches that have to apply side by side:
# the next good version changes the line above, a broken one adds its own assignment
# after the last line of this file, and the last assignment wins.
# Hence these lines: they keep the two changes out of each other's context.
