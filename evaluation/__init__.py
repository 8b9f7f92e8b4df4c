"""How well a critic agrees with recorded preferences: metrics, reports and plots."""
