"""Why a start is slow here, and what would help; pure."""
