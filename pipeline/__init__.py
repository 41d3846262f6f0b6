"""Which U-Net at which learning rate learns best, and does it learn or memorize?"""
