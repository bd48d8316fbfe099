"""``python -m benchmarks.reliability``: see :mod:`benchmarks.reliability.all_attacks`.

Nothing is defined here: the processes of the parts do not import the ``__main__`` of a package.
"""

import sys

from benchmarks.reliability.all_attacks import main

if __name__ == "__main__":
    sys.exit(main())
